"""The last notifications, kept in memory for clients that reconnect soon."""

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from operator import attrgetter

from thumbq_gateway.notifications.cursor import Cursor


@dataclass(frozen=True, slots=True, eq=False)
class Event:
    """One notification, encoded once for each framing."""

    seq: int
    model_id: int
    status: int  # a ThumbnailStatus
    event_stream: bytes
    json_lines: bytes

    @property
    def size(self) -> int:
        """Bytes of both encodings."""
        return len(self.event_stream) + len(self.json_lines)


_seq = attrgetter("seq")
_PIECE = 64 * 1024  # bytes of events that are written at once


def in_pieces(events: Iterable[Event]) -> Iterator[list[Event]]:
    """Yield the events in groups of at most 64 KiB, or of one that is larger."""
    piece: list[Event] = []
    size = 0
    for event in events:
        if piece and size + event.size > _PIECE:
            yield piece
            piece, size = [], 0
        piece.append(event)
        size += event.size
    if piece:
        yield piece


class Ring:
    """Every event between `floor` and `head`, without a hole. Only Upstream writes it."""

    def __init__(self, start: Cursor, target: Cursor, capacity: int, byte_limit: int) -> None:
        """`target` is the head of the log at the start; until the ring reaches it, the ring shows the past."""
        self._capacity = capacity
        self._byte_limit = byte_limit
        self._target = target
        self.restart(start)

    def restart(self, cursor: Cursor) -> None:
        """Forget everything and continue from the cursor."""
        self.floor = self.head = cursor
        self._events: list[Event] = []
        self._first = 0  # index in _events; earlier ones are forgotten, and deleted in batches
        self._bytes = 0

    @property
    def first_present(self) -> Cursor:
        """Where the log ended when the ring was begun; where it ends, if it is another log by now."""
        return self._target if self._target.epoch == self.head.epoch else self.head

    @property
    def is_filled(self) -> bool:
        """Whether the ring has reached the present."""
        return self.head.epoch != self._target.epoch or self.head.seq >= self._target.seq

    def append(self, events: Sequence[Event]) -> None:
        """Add the events that follow the head, and forget the oldest beyond the capacity."""
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
        """Move the head without an event."""
        self.head = self.head._replace(seq=seq)

    def after(self, seq: int, limit: int) -> list[Event]:
        """Return the next events, at most `limit` and 64 KiB. Valid only for a `seq` at or after the floor."""
        start = bisect_right(self._events, seq, lo=self._first, key=_seq)
        return next(in_pieces(self._events[start : start + limit]), [])
