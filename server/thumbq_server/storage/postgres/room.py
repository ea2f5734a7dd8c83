"""Room for a connection when PostgreSQL has none left: idle ones are given back first."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

import asyncpg

T = TypeVar("T")

# PostgreSQL frees the place of a closed connection a few milliseconds later.
_TRIES = 10
_PAUSE_SECONDS = 0.05


class Room:
    """Asks the holders of idle connections for theirs, when a new one is refused for want of room."""

    def __init__(self) -> None:
        # Each closes an idle connection, and returns whether it had one.
        self.holders: list[Callable[[], Awaitable[bool]]] = []

    async def for_one(self, open_one: Callable[[], Awaitable[T]]) -> T:
        """Return the connection that `open_one` opens. Raises what it raises."""
        try:
            return await open_one()
        except asyncpg.TooManyConnectionsError:
            if not await self._make():
                raise
        for _ in range(_TRIES - 1):
            try:
                return await open_one()
            except asyncpg.TooManyConnectionsError:
                await asyncio.sleep(_PAUSE_SECONDS)
        return await open_one()

    async def _make(self) -> bool:
        return any([await give_back() for give_back in self.holders])
