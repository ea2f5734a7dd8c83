"""How long work on a connection may take, and how long to wait before the next attempt."""

import asyncio
import contextlib
import random
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import asyncpg

T = TypeVar("T")

# PostgreSQL ends statements by itself at their time limit. So this is for a host that is silent, and for a commit that
# waits for its standby.
_LATE_SECONDS = 4.0
# What opens a connection for each attempt, and then fails, must not wake the others without a pause.
_LEAST_PAUSE = 0.05


class Comeback:
    """Ends the pauses of all who wait for PostgreSQL as soon as one of them has reached it.

    Pauses of many parts would add up otherwise: each would find out by itself, one after the other.
    """

    def __init__(self) -> None:
        self._reached = asyncio.Event()

    def reached(self) -> None:
        """Note that a new connection works."""
        self._reached.set()
        self._reached = asyncio.Event()

    async def pause(self, seconds: float) -> None:
        """Wait between half and the whole of these seconds, and less when PostgreSQL is reached meanwhile."""
        reached, step = self._reached, seconds * random.uniform(0.5, 1.0)
        least = min(step, _LEAST_PAUSE)
        await asyncio.sleep(least)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(step - least):
                await reached.wait()


async def within(statement_timeout: float, connection: Any, work: Callable[[Any], Awaitable[T]]) -> T:
    """Return what `work` returns for the connection, which is broken off when that takes much too long."""
    return await broken_off_after(statement_timeout + _LATE_SECONDS, connection, work)


async def broken_off_after(seconds: float, connection: Any, work: Callable[[Any], Awaitable[T]]) -> T:
    """Return what `work` returns for the connection, which is broken off after this time.

    asyncpg's own time limit would ask PostgreSQL to cancel. It acknowledges a commit that waits for its standby then:
    the job would be seen, and a repeated request for it would be told that it is there.
    """
    timer = asyncio.get_running_loop().call_later(seconds, _break_off, connection)
    try:
        return await work(connection)
    finally:
        timer.cancel()


def _break_off(connection: Any) -> None:
    # A pool takes a connection back when it is lost, also while work on it has not ended.
    with contextlib.suppress(asyncpg.InterfaceError):
        connection.terminate()
