"""Running calls at once, and waiting for conditions instead of for a time."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import asyncpg

from tests.support.postgres.queue_under_test import QueueUnderTest
from thumbq_server.storage.postgres.database import Database
from thumbq_server.storage.postgres.lane import Lane
from thumbq_server.storage.statements import Statement

T = TypeVar("T")

_BLOCKED = """
    count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'
"""


async def until(condition: Callable[[], Awaitable[bool]], seconds: float = 30) -> None:
    """Return as soon as the condition holds."""
    async with asyncio.timeout(seconds):
        while not await condition():
            await asyncio.sleep(0.005)


async def at_once(*calls: Coroutine[Any, Any, T]) -> list[T]:
    """Return the results of calls that run side by side. When one fails, none is left running."""
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(call) for call in calls]
    return [task.result() for task in tasks]


@asynccontextmanager
async def until_blocked(
    queue: QueueUnderTest, statement: Coroutine[Any, Any, T], count: int = 1
) -> AsyncIterator[asyncio.Task[T]]:
    """Start the statement, and enter the block when `count` statements wait for a lock. It has ended with the block."""
    task = asyncio.create_task(statement)

    async def blocked() -> bool:
        return bool(await queue.value(_BLOCKED) >= count)

    await until(blocked)
    yield task
    async with asyncio.timeout(30):
        await asyncio.wait([task])


@asynccontextmanager
async def locked(database: Database, rows: str) -> AsyncIterator[asyncpg.Connection]:
    """Hold these rows in another transaction, until its COMMIT."""
    connection = await asyncpg.connect(database.dsn)
    try:
        await connection.execute("BEGIN")
        await connection.execute(f"SELECT FROM {rows} FOR UPDATE")
        yield connection
    finally:
        await connection.close()


@asynccontextmanager
async def meddled(
    database: Database, statement: Statement, meddle: Callable[[], Awaitable[object]]
) -> AsyncIterator[Lane]:
    """A lane on which something else happens right before `statement`, the first time that it runs."""
    lane = _Meddled(database.dsn, statement, meddle)
    try:
        yield lane
    finally:
        await lane.close()


class _Meddled(Lane):
    def __init__(self, dsn: str, statement: Statement, meddle: Callable[[], Awaitable[object]]) -> None:
        super().__init__(dsn, statement_timeout=10)
        self._statement = statement
        self._meddle: Callable[[], Awaitable[object]] | None = meddle

    async def fetch(self, statement: Statement | str, *arguments: object) -> list[asyncpg.Record]:
        if statement is self._statement and self._meddle is not None:
            meddle, self._meddle = self._meddle, None
            await meddle()
        return await super().fetch(statement, *arguments)
