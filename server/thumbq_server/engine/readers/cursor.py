"""Where a subscriber stands in the log of notifications, and from where it can go on."""

from enum import Enum, auto
from typing import NamedTuple, Self

from thumbq_server.storage import notification_log
from thumbq_server.storage.postgres.database import Database

LATEST, EARLIEST = "latest", "earliest"


class Cursor(NamedTuple):
    """A position: everything up to notification `seq` of log `epoch` is known. Clients keep its text."""

    epoch: str
    seq: int

    def __str__(self) -> str:
        return f"{self.epoch}-{self.seq}"

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """Return the cursor, or None for anything else."""
        epoch, _, digits = text.rpartition("-")
        if epoch and digits.isascii() and digits.isdigit() and len(digits) < 19:
            return cls(epoch, int(digits))
        return None


class ResetReason(Enum):
    """Why a subscriber cannot go on from its cursor and misses notifications."""

    MALFORMED = auto()
    OTHER_LOG = auto()
    # The cursor is beyond the newest notification.
    FUTURE = auto()
    # The notifications after the cursor are pruned.
    TOO_OLD = auto()


async def head(database: Database) -> Cursor:
    """Return the newest position."""
    return Cursor(*await notification_log.head(database))


async def resume(database: Database, after: str) -> tuple[Cursor, ResetReason | None]:
    """Return the cursor to go on from, and why that leaves a hole, if it does.

    `after` is the text of a cursor, "earliest", "latest" or empty (also the latest).
    """
    newest = await head(database)
    if after in ("", LATEST):
        return newest, None
    oldest = await notification_log.oldest(database)
    earliest = newest if oldest is None else newest._replace(seq=oldest - 1)
    if after == EARLIEST:
        return earliest, None
    cursor = Cursor.parse(after)
    if cursor is None:
        return newest, ResetReason.MALFORMED
    reset = _hole(cursor, earliest, newest)
    return (cursor, None) if reset is None else (newest, reset)


def _hole(cursor: Cursor, earliest: Cursor, newest: Cursor) -> ResetReason | None:
    """Return why the log cannot be followed from the cursor on, if it cannot."""
    if cursor.epoch != newest.epoch:
        return ResetReason.OTHER_LOG
    if cursor.seq > newest.seq:
        return ResetReason.FUTURE
    if cursor.seq < earliest.seq:
        return ResetReason.TOO_OLD
    return None
