"""The audit log: who did what to the queue, from where, and how it ended."""

from datetime import datetime
from enum import StrEnum
from typing import NamedTuple

MAX_WHO, MAX_ADDRESS, MAX_ACTION, MAX_DETAIL, MAX_REFERENCE = 150, 100, 60, 300, 60


class Outcome(StrEnum):
    """How an action ended."""

    # Under way, or its server died meanwhile.
    BEGUN = "begun"
    DONE = "done"
    REFUSED = "refused"
    FAILED = "failed"


class Deed(NamedTuple):
    """An action to be recorded. `reference` names what the action was for or what it made."""

    who: str
    address: str
    action: str
    outcome: Outcome
    detail: str = ""
    reference: str = ""

    def cut(self) -> "Deed":
        """Return it as the database takes it: no text is longer than its column, and none holds NUL."""
        longest = (MAX_WHO, MAX_ADDRESS, MAX_ACTION, MAX_ACTION, MAX_DETAIL, MAX_REFERENCE)
        texts = [text.replace("\0", "\ufffd")[:most] for text, most in zip(self, longest, strict=True)]
        return Deed(texts[0], texts[1], texts[2], self.outcome, texts[4], texts[5])


class AuditRecord(NamedTuple):
    """A row of the audit log."""

    id: int
    at: datetime
    who: str
    address: str
    action: str
    outcome: str
    detail: str
    reference: str
