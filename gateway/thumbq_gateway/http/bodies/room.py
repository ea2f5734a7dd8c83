"""The memory that all large bodies share. No caller has more of it than is left for others."""

import asyncio
from collections import Counter, OrderedDict
from dataclasses import dataclass, field


class NoRoom(Exception):
    """The caller has as much of the room as it may have, or it is full of bodies that wait to be decoded."""


@dataclass(eq=False)
class Place:
    """The place of one body of a caller."""

    caller: str
    deadline: asyncio.Timeout = field(default_factory=lambda: asyncio.timeout(None))
    size: int = 0
    was_taken: bool = False


class Room:
    """Counts the bytes of bodies that arrive or wait to be decoded.

    One caller may fill half of the room, a second one half of the rest, and so on: there is always room for another.
    Bodies that stall lose their place to those that go on.
    """

    def __init__(self, size: int) -> None:
        self._free = size
        self._sizes: Counter[str] = Counter()
        # The bodies that are still arriving. The one that has made no progress for longest stands first.
        self._arriving: OrderedDict[Place, None] = OrderedDict()

    def grow(self, place: Place, size: int) -> None:
        """Give the place this size. If its caller has more than is left then, end the bodies of whoever has most.

        Raises NoRoom, also when the place was taken: a body may go on until its task is told.
        """
        if place.was_taken:
            raise NoRoom
        self._resize(place, size)
        self._arriving[place] = None
        self._arriving.move_to_end(place)
        while self._sizes[place.caller] > self._free:
            # Of equals, `max` takes the first: the one that has made no progress for longest.
            last = max(self._arriving, key=lambda one: self._sizes[one.caller])
            if last is place:
                raise NoRoom
            self._take_from(last)

    def arrived(self, place: Place) -> None:
        """Keep the place until `leave`, since the body is whole."""
        self._arriving.pop(place, None)

    def leave(self, place: Place) -> None:
        """Free the place."""
        self._arriving.pop(place, None)
        self._resize(place, 0)

    def _resize(self, place: Place, size: int) -> None:
        grown, place.size = size - place.size, size
        self._free -= grown
        self._sizes[place.caller] += grown
        if not self._sizes[place.caller]:
            del self._sizes[place.caller]

    def _take_from(self, place: Place) -> None:
        place.was_taken = True
        self.leave(place)
        if not place.deadline.expired():  # its own time may be over in this very moment
            place.deadline.reschedule(asyncio.get_running_loop().time())
