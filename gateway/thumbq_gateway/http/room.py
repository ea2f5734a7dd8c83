"""The memory that all large bodies share. The ones that stall lose their place to the ones that go on."""

import asyncio
from collections import OrderedDict
from dataclasses import dataclass, field


class NoRoom(Exception):
    """The room is full of bodies that have arrived and wait to be decoded."""


@dataclass(eq=False)
class Place:
    """The place of one body."""

    deadline: asyncio.Timeout = field(default_factory=lambda: asyncio.timeout(None))
    size: int = 0
    was_taken: bool = False


class Room:
    """Counts the bytes of bodies that arrive or wait to be decoded."""

    def __init__(self, size: int) -> None:
        self._free = size
        # The bodies that are still arriving. The one that has made no progress for longest stands first.
        self._arriving: OrderedDict[Place, None] = OrderedDict()

    def grow(self, place: Place, size: int) -> None:
        """Give the place this size. End the bodies that have made no progress for longest if there is too little room.

        Raises NoRoom.
        """
        self._free -= size - place.size
        place.size = size
        self._arriving[place] = None
        self._arriving.move_to_end(place)
        while self._free < 0:
            stalled = next(iter(self._arriving))
            if stalled is place:
                raise NoRoom
            self._take_from(stalled)

    def arrived(self, place: Place) -> None:
        """Keep the place until `leave`, since the body is whole."""
        self._arriving.pop(place, None)

    def leave(self, place: Place) -> None:
        """Free the place."""
        self._arriving.pop(place, None)
        self._free += place.size
        place.size = 0

    def _take_from(self, place: Place) -> None:
        place.was_taken = True
        self.leave(place)
        place.deadline.reschedule(asyncio.get_running_loop().time())
