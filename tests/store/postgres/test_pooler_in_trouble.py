"""PgBouncer with too few connections: slow for a while, and nothing is lost."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import asyncpg
import grpc
import pytest

from tests.support.postgres.databases import pooled
from tests.support.service.server import running_server, status_of
from tests.support.waiting import eventually
from tests.wire.sdk.sdk import HASH, PICTURE, connected, reached, working
from tests.wire.worker import enqueue
from thumbq import Job, NewJob, Producer, Thumbnail
from thumbq.cli.operating.observe import readiness
from thumbq.v1 import queue_pb2_grpc
from thumbq_server.storage.postgres.database import Database
from thumbq_server.storage.postgres.errors import NO_BACKEND, Unavailable
from thumbq_server.storage.postgres.lane import Lane

pytestmark = pytest.mark.sessions("has poolers of its own")
BACKENDS = 2
JOBS = 200


async def complete(_job: Job) -> Thumbnail:
    return PICTURE


@asynccontextmanager
async def all_backends_taken(pooler: str) -> AsyncIterator[None]:
    """Keep each backend of the pooler in a transaction until the block ends."""
    others = [await asyncpg.connect(pooler, statement_cache_size=0) for _ in range(BACKENDS)]
    try:
        for other in others:
            await other.execute("BEGIN")
        yield
    finally:
        for other in others:
            await other.close()


async def test_two_backends_are_enough_for_two_servers_that_want_twelve_each(database_url: str, tmp_path: Path) -> None:
    with pooled(database_url, "transaction", tmp_path, default_pool_size=BACKENDS) as pooler:
        async with (
            running_server(pooler, listen_url=database_url) as first,
            running_server(pooler, listen_url=database_url) as second,
            connected(database_url) as database,
            Producer(first) as producer,
            Producer(second) as other_producer,
            working(first, complete, concurrency=10),
            working(second, complete, concurrency=10),
        ):
            jobs = [NewJob(model_id=model, model_hash=HASH) for model in range(1, JOBS + 1)]
            calls = [(producer, other_producer)[number % 2].enqueue_one(job) for number, job in enumerate(jobs)]
            await asyncio.gather(*calls)
            await reached(database, Completed=JOBS)
            assert await database.fetchval("SELECT count(*) FROM attempts") == JOBS


@pytest.mark.parametrize(
    ("options", "statement_timeout"),
    [({"query_wait_timeout": 3}, 30), ({}, 5)],
    ids=["the-pooler-gives-up", "thumbq-gives-up"],
)
async def test_who_gets_no_backend_is_told_what_to_change(
    database_url: str, tmp_path: Path, options: dict[str, int], statement_timeout: int
) -> None:
    with pooled(database_url, "transaction", tmp_path, default_pool_size=BACKENDS, **options) as pooler:
        async with (
            running_server(pooler, listen_url=database_url) as server,
            grpc.aio.insecure_channel(server) as channel,
            connected(database_url) as around,
            Database(pooler, statement_timeout=statement_timeout) as database,
        ):
            queue = queue_pb2_grpc.QueueServiceStub(channel)
            await enqueue(queue, 1)

            async def reason() -> str:
                return (await readiness(server)).reason

            async def is_told() -> bool:
                return await reason() == NO_BACKEND

            async def is_back() -> bool:
                return not await reason()

            async def is_refused(way: Database | Lane) -> None:
                with pytest.raises(Unavailable, match=NO_BACKEND):
                    await way.fetch("SELECT 1")

            async with all_backends_taken(pooler):
                await asyncio.gather(is_refused(database), is_refused(database.lane()), eventually(is_told, timeout=60))
                waiting = asyncio.create_task(enqueue(queue, 2))
                if options:
                    assert (await status_of(waiting))[0] is grpc.StatusCode.UNAVAILABLE
            acknowledged = {1, 3} if options else {1, 2, 3}
            if not options:
                await waiting
            await eventually(is_back, timeout=60)
            await enqueue(queue, 3)
            assert acknowledged <= {row["model_id"] for row in await around.fetch("SELECT model_id FROM jobs")}


async def test_a_pooler_without_room_for_a_client_says_what_to_change(database_url: str, tmp_path: Path) -> None:
    with pooled(database_url, "transaction", tmp_path, max_client_conn=5) as pooler:
        async with Database(pooler) as database:
            crowd = []
            with suppress(asyncpg.PostgresError):
                while True:
                    crowd.append(await asyncpg.connect(pooler, statement_cache_size=0))
            lane = database.lane()
            with pytest.raises(Unavailable, match="raise its max_client_conn") as refused:
                await lane.fetch("SELECT 1")
            assert database.in_words(refused.value).startswith("the pooler takes no more connections")
            for other in crowd:
                await other.close()

            async def has_room() -> bool:
                with suppress(Unavailable):
                    return bool(await lane.fetch("SELECT 1"))
                return False

            await eventually(has_room)


async def test_a_cancelled_call_that_waits_for_a_backend_is_over_at_once(database_url: str, tmp_path: Path) -> None:
    with pooled(database_url, "transaction", tmp_path, default_pool_size=BACKENDS) as pooler:
        async with Database(pooler) as database, all_backends_taken(pooler):

            async def waits() -> bool:
                return database.why_silent() == NO_BACKEND

            call = asyncio.create_task(database.fetch("SELECT 1"))
            await eventually(waits)
            call.cancel()
            await asyncio.wait([call], timeout=3)
            assert call.cancelled()
