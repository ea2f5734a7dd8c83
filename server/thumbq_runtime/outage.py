"""What callers are told of a server's own trouble: its database is away, or an error that nobody expected."""

import re

DATABASE_AWAY = "The queue's database is away; try again shortly."
_FAILURE = "internal error; the server's log has it under "
_REFERENCE = re.compile(r"[0-9a-f]{8,40}")


def failure(reference: str) -> str:
    """Return the sentence for an error that the log has under this reference."""
    return _FAILURE + reference


def reference_in(sentence: str) -> str | None:
    """Return the reference that such a sentence names, None for another."""
    start, _, reference = sentence.partition(_FAILURE)
    return reference if not start and _REFERENCE.fullmatch(reference) else None
