"""Sign-ins and refusals at this gateway, until the server takes them for its audit log."""

from collections.abc import Sequence

from thumbq.v1.admin_pb2 import AuditEntry
from thumbq_runtime.access.sample import Sample

_MOST_SENT = 100
_MOST_WAITING = 1_000


class Noted:
    """The entries that wait. Refusals are sampled, and an entry that finds no room is forgotten."""

    def __init__(self) -> None:
        self._waiting: list[AuditEntry] = []
        self._sample = Sample()

    def refusal(self, prefix: str, address: str, action: str, reason: str) -> None:
        """Note that a request was refused. `prefix` is that of a valid key, or ""."""
        if self._sample.takes((prefix, address)):
            self._note(prefix, address, action, "refused", reason)

    def sign_in(self, prefix: str, address: str) -> None:
        """Note that a page has signed in."""
        self._note(prefix, address, "sign in", "done", "")

    def take(self) -> Sequence[AuditEntry]:
        """Return what the next message to the server takes along."""
        taken, self._waiting = self._waiting[:_MOST_SENT], self._waiting[_MOST_SENT:]
        return taken

    def give_back(self, entries: Sequence[AuditEntry]) -> None:
        """Keep what the server has not taken."""
        self._waiting = [*entries, *self._waiting][:_MOST_WAITING]

    def _note(self, prefix: str, address: str, action: str, outcome: str, detail: str) -> None:
        if len(self._waiting) < _MOST_WAITING:
            who = f"key {prefix}" if prefix else "no key"
            self._waiting.append(AuditEntry(who=who, address=address, action=action, outcome=outcome, detail=detail))
