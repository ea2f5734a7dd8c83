"""Real connections that count their statements, hold answers back, or find their database gone."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Any, TypeVar
from urllib.parse import urlsplit

import asyncpg

from tests.support.postgres.databases import reached_again
from thumbq_server.domain.retry import RetryPolicy
from thumbq_server.storage.postgres.database import Database
from thumbq_server.storage.postgres.errors import Unavailable
from thumbq_server.storage.postgres.lane import Lane
from thumbq_server.storage.postgres.patience import Comeback
from thumbq_server.storage.statements import Statement

# No test waits for a back-off that it has not made due, nor for a poll that it has not asked for.
T = TypeVar("T")
POLICY = RetryPolicy(base=600, cap=600)
NEVER = 3600.0


class Holdable:
    """A connection that can hold the answers of PostgreSQL back for a while."""

    def __init__(self) -> None:
        self._free = asyncio.Event()
        self._free.set()

    @contextmanager
    def held(self) -> Iterator[None]:
        """Let statements commit, but hold their answers back until the block ends."""
        self._free.clear()
        try:
            yield
        finally:
            self._free.set()


class WatchedLane(Lane, Holdable):
    """A lane that counts its commits, keeps their answers while it is held, or loses them."""

    def __init__(self, dsn: str) -> None:
        Lane.__init__(self, dsn, statement_timeout=30)
        Holdable.__init__(self)
        # transactions that were begun, and those of them that are committed
        self.begun = self.committed = 0
        # how many answers get lost on their way
        self.losses = 0

    async def run(self, work: Callable[[Any], Awaitable[T]]) -> T:
        self.begun += 1
        answer = await super().run(work)
        self.committed += 1
        await self._free.wait()
        if self.losses:
            self.losses -= 1
            raise Unavailable("the answer got lost")
        return answer


class WatchedDatabase(Database, Holdable):
    """A database with watched lanes, that keeps the text of what its pool was asked, and holds answers back."""

    def __init__(self, dsn: str) -> None:
        Database.__init__(self, dsn)
        Holdable.__init__(self)
        self.asked: list[str] = []
        self.answered = 0
        self.in_flight = 0

    def lane(self) -> WatchedLane:
        lane = WatchedLane(self.dsn)
        self._lanes.append(lane)
        return lane

    async def fetch(self, statement: Statement | str, *arguments: object, **options: Any) -> list[asyncpg.Record]:
        self.asked.append(str(statement))
        self.in_flight += 1
        try:
            rows = await super().fetch(statement, *arguments, **options)
            await self._free.wait()
        finally:
            self.in_flight -= 1
        self.answered += 1
        return rows


class LastingComeback(Comeback):
    """Counts the pauses. None ends by itself, only when some part has reached PostgreSQL."""

    def __init__(self) -> None:
        super().__init__()
        self.pauses = 0

    async def pause(self, _seconds: float) -> None:
        self.pauses += 1
        await super().pause(NEVER)


async def until(condition: Callable[[], object], seconds: float = 30) -> None:
    """Return as soon as the condition holds."""
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.002)


async def turns(count: int = 20) -> None:
    """Let everything run that can."""
    for _ in range(count):
        await asyncio.sleep(0)


async def ends_when_cancelled(work: Coroutine[Any, Any, None], wake: Callable[[], None], turns_between: int) -> bool:
    """Whether what sleeps in `work` ends when it is cancelled so shortly after it was woken."""
    task = asyncio.create_task(work)
    await turns()
    wake()
    await turns(turns_between)
    task.cancel()
    await asyncio.wait([task], timeout=30)
    ended = task.done()
    task.cancel()
    return ended


@asynccontextmanager
async def running(work: Coroutine[Any, Any, None]) -> AsyncIterator[asyncio.Task[None]]:
    """Run what runs for ever until the block ends; it must not have ended by itself."""
    task = asyncio.create_task(work)
    try:
        yield task
        assert not task.done()
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            async with asyncio.timeout(30):
                await asyncio.shield(task)


@asynccontextmanager
async def away(server: str, dsn: str) -> AsyncIterator[None]:
    """Cut every connection to a database, and refuse new ones until the block ends."""
    name = urlsplit(dsn).path[1:]
    connection = await asyncpg.connect(server)
    try:
        await connection.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
        await connection.execute(
            "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE datname = $1", name
        )
        yield
    finally:
        await connection.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")
        await connection.close()
    await reached_again(dsn)
