"""Shared by the tests of the SDK: jobs, handlers that wait for a signal, and the state of the queue."""

import asyncio
import hashlib
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import asyncpg

from tests.support.waiting import eventually
from thumbq import Job, NewJob, Producer, Thumbnail, Worker
from thumbq.working.handler import Handler

HASH = hashlib.sha256(b"model").hexdigest()
PICTURE = Thumbnail("/thumbnails/a.png", 1234, 512, 512)


@asynccontextmanager
async def connected(database_url: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(database_url)
    try:
        yield connection
    finally:
        await connection.close()


@asynccontextmanager
async def working(server: str, handler: Handler | Mapping[str, Handler], **options: Any) -> AsyncIterator[Worker]:
    """Run a worker until the block ends."""
    async with Worker(server, **options) as worker, asyncio.TaskGroup() as group:
        group.create_task(worker.run(handler, handle_signals=False))
        yield worker
        worker.stop()


async def enqueue(server: str, count: int, **fields: Any) -> list[int]:
    async with Producer(server) as producer:
        jobs = [NewJob(model_id=number + 1, model_hash=HASH, **fields) for number in range(count)]
        return [enqueued.job_id for enqueued in await producer.enqueue(jobs)]


async def statuses(database: asyncpg.Connection) -> dict[str, int]:
    rows = await database.fetch("SELECT status, count(*)::int AS count FROM job_states GROUP BY status")
    return {row["status"]: row["count"] for row in rows}


async def reached(database: asyncpg.Connection, seconds: float = 60, /, **expected: int) -> None:
    """Wait until the jobs have these statuses: reached(database, Completed=3)."""

    async def check() -> bool:
        return await statuses(database) == expected

    try:
        await eventually(check, seconds)
    except TimeoutError:
        assert await statuses(database) == expected


async def confirmed(database: asyncpg.Connection, count: int) -> None:
    """Wait until heartbeats have extended `count` leases beyond the 10 s of a delivery."""

    async def check() -> bool:
        extended = "SELECT count(*) FROM leases WHERE expires_at > claimed_at + interval '20 s'"
        return bool(await database.fetchval(extended) == count)

    await eventually(check, 40)


async def until(condition: Callable[[], bool]) -> None:
    async def check() -> bool:
        return condition()

    await eventually(check, 40)


class Gate:
    """A handler that reports which jobs have begun, and holds them until it is opened."""

    def __init__(self) -> None:
        self.runs: Counter[int] = Counter()
        self.running = 0
        self.most_running = 0
        self.cancelled = 0
        self._changed = asyncio.Condition()
        self.open = asyncio.Event()

    async def __call__(self, job: Job) -> Thumbnail:
        self.runs[job.id] += 1
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        try:
            async with self._changed:
                self._changed.notify_all()
            await self.open.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            async with self._changed:
                self._changed.notify_all()
            raise
        finally:
            self.running -= 1
        return PICTURE

    async def begun(self, count: int) -> None:
        async with asyncio.timeout(30), self._changed:
            await self._changed.wait_for(lambda: self.runs.total() >= count)

    async def was_cancelled(self, count: int) -> None:
        async with asyncio.timeout(30), self._changed:
            await self._changed.wait_for(lambda: self.cancelled >= count)
