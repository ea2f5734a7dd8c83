"""The many connections of one caller: they get together what has gathered, so that others have their time."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from typing import NoReturn, TypeAlias

from thumbq_gateway.notifications.audiences.connection import Connection
from thumbq_gateway.notifications.cursor import Cursor
from thumbq_gateway.notifications.ring import Event, in_pieces

# Connections of one caller that get each event at once. The next ones belong to the crowd.
FEW = 50
_REST = 3.0  # others have at least three times as long as the writing to the crowd took
_MOST = 256 * 1024  # bytes of events that gather; with more, the crowd has no rest

# Writes events to the crowd, and to newcomers from the given place on. Returns the seconds that it took.
Write: TypeAlias = Callable[[Sequence[Event], Mapping[Connection, int]], Awaitable[float]]


class Crowd:
    """What the crowd has not got yet. At first each event is written at once; after that, others have their time."""

    def __init__(self) -> None:
        self.size = 0
        self._gathered: list[Event] = []
        self._bytes = 0
        # Connections that joined since the first of these was gathered, and how many they have had by other ways.
        self._newcomers: dict[Connection, int] = {}
        self._is_writing = False
        self._some = asyncio.Event()
        self._none = asyncio.Event()
        self._none.set()
        self._hurry = asyncio.Event()

    def gather(self, events: Sequence[Event]) -> None:
        """Keep events for the crowd, if there is one."""
        if self.size:
            self._gathered += events
            self._bytes += sum(event.size for event in events)
            self._some.set()
            self._none.clear()

    def keeps(self, connection: Connection) -> bool:
        """Return whether a connection that joins has to wait: it has had what is gathered, and gets that only once."""
        if self._gathered:
            self._newcomers[connection] = len(self._gathered)
        return bool(self._gathered)

    def is_new(self, connection: Connection) -> bool:
        """Return whether a connection still waits, as `keeps` has said."""
        return connection in self._newcomers

    def leave(self, connection: Connection) -> None:
        """Forget a connection."""
        self._newcomers.pop(connection, None)

    def position_of(self, connection: Connection, head: Cursor) -> Cursor | None:
        """Return how far a connection has come when the log ends at `head`; None: it is not known."""
        if self._is_writing or connection in self._newcomers:
            return None
        return head._replace(seq=self._gathered[0].seq - 1) if self._gathered else head

    async def room(self) -> None:
        """Wait until no more than it may be is gathered."""
        if self._bytes > _MOST:
            await self.all_written()

    async def all_written(self) -> None:
        """Have everything written without a rest."""
        if not self._none.is_set():
            self._hurry.set()
            await self._none.wait()

    async def run(self, write: Write) -> NoReturn:
        """Write what is gathered, and rest, until cancelled."""
        while True:
            await self._some.wait()
            self._is_writing = True
            took = await write(*self._take())
            self._is_writing = False
            if not self._gathered:
                self._some.clear()
                self._hurry.clear()
                self._none.set()
            with suppress(TimeoutError):
                async with asyncio.timeout(_REST * took):
                    await self._hurry.wait()

    def _take(self) -> tuple[list[Event], dict[Connection, int]]:
        piece = next(in_pieces(self._gathered))
        count = len(piece)
        del self._gathered[:count]
        self._bytes -= sum(event.size for event in piece)
        joining = {connection: had for connection, had in self._newcomers.items() if had <= count}
        self._newcomers = {connection: had - count for connection, had in self._newcomers.items() if had > count}
        return piece, joining
