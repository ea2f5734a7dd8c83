"""Positions in the notification log."""

import re
from enum import Enum, auto
from typing import NamedTuple

_CURSOR = re.compile(r"([0-9A-Za-z]{1,40})-([0-9]{1,18})")


class Cursor(NamedTuple):
    """A position in the notification log, between two notifications."""

    epoch: str
    seq: int

    @classmethod
    def parse(cls, text: str) -> "Cursor":
        """Read "epoch-seq". Raises ValueError."""
        match = _CURSOR.fullmatch(text)
        if not match:
            raise ValueError(f"{text!r} is no cursor.")
        return cls(match[1], int(match[2]))

    def __str__(self) -> str:
        return f"{self.epoch}-{self.seq}"


class StartFrom(Enum):
    """Where a client starts when it names no cursor."""

    EARLIEST = auto()
    LATEST = auto()
    MALFORMED = auto()  # the client's Last-Event-ID is unreadable, so its stream starts with a reset
    UNKNOWN = auto()  # no server has told yet where the log ends, so the stream of a new client starts with a reset
