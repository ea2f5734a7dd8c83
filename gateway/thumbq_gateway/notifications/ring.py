"""The last notifications, kept for clients that come back after a short while."""

import re
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import NamedTuple

_CURSOR = re.compile(r"([0-9A-Za-z]{1,40})-([0-9]{1,18})")


class Cursor(NamedTuple):
    """A position in the notification log, between two notifications."""

    epoch: str
    seq: int

    @classmethod
    def parse(cls, text: str) -> "Cursor":
        """Reads "epoch-seq". Raises ValueError."""
        match = _CURSOR.fullmatch(text)
        if not match:
            raise ValueError(f"{text!r} is no cursor.")
        return cls(match[1], int(match[2]))

    def __str__(self) -> str:
        return f"{self.epoch}-{self.seq}"


@dataclass(frozen=True, slots=True, eq=False)
class Event:
    """One notification, encoded once for each framing."""

    seq: int
    model_id: int
    status: int  # a ThumbnailStatus
    frames: tuple[bytes, ...]

    @property
    def size(self) -> int:
        """Bytes of its frames."""
        return sum(map(len, self.frames))


_seq = attrgetter("seq")


class Ring:
    """What lies between `floor` and `head`, without a hole. Written by the upstream alone."""

    def __init__(self, start: Cursor, target: Cursor, capacity: int, byte_limit: int) -> None:
        """`target` is how far the log has come already: before it is reached, the ring shows the past."""
        self._capacity = capacity
        self._byte_limit = byte_limit
        self._target = target
        self.restart(start)

    def restart(self, cursor: Cursor) -> None:
        """Forgets everything and goes on from the cursor."""
        self.floor = self.head = cursor
        self._events: list[Event] = []
        self._first = 0  # of _events; those before it are forgotten, and dropped now and then
        self._bytes = 0

    @property
    def is_filled(self) -> bool:
        """Whether it has reached the present."""
        return self.head.epoch != self._target.epoch or self.head.seq >= self._target.seq

    def append(self, events: Sequence[Event]) -> None:
        """Takes what follows the head, and forgets the oldest beyond the capacity."""
        for event in events:
            self._events.append(event)
            self._bytes += event.size
        self.advance(events[-1].seq)
        while len(self._events) - self._first > self._capacity or self._bytes > self._byte_limit:
            forgotten = self._events[self._first]
            self.floor = self.floor._replace(seq=forgotten.seq)
            self._bytes -= forgotten.size
            self._first += 1
        if self._first > self._capacity:
            del self._events[: self._first]
            self._first = 0

    def advance(self, seq: int) -> None:
        """Moves the head, where the log went on without a notification for us."""
        self.head = self.head._replace(seq=seq)

    def after(self, seq: int, limit: int) -> list[Event]:
        """What comes next, at most `limit` events; only right from the floor on."""
        start = bisect_right(self._events, seq, lo=self._first, key=_seq)
        return self._events[start : start + limit]
