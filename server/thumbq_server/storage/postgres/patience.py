"""How long work on a connection may take."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

T = TypeVar("T")

# PostgreSQL ends statements by itself at their time limit. So this is for a host that is silent, and for a commit that
# waits for its standby.
_LATE_SECONDS = 4.0


async def within(statement_timeout: float, connection: Any, work: Callable[[Any], Awaitable[T]]) -> T:
    """Return what `work` returns for the connection, which is broken off when that takes much too long.

    asyncpg's own time limit would ask PostgreSQL to cancel. It acknowledges a commit that waits for its standby then:
    the job would be seen, and a repeated request for it would be told that it is there.
    """
    limit = statement_timeout + _LATE_SECONDS
    timer = asyncio.get_running_loop().call_later(limit, connection.terminate)
    try:
        return await work(connection)
    finally:
        timer.cancel()
