"""PgBouncer with too few connections, or that starts again under load: slow for a while, and nothing is lost."""

import asyncio
import signal
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import asyncpg
import grpc
import pytest

from tests.support.databases import at_pooler, launch_pooler, pooled, tell_pooler
from tests.support.server import running_server, status_of
from tests.support.waiting import eventually
from tests.wire.sdk.sdk import HASH, PICTURE, connected, reached, working
from tests.wire.worker import enqueue
from thumbq import Job, NewJob, Producer, Thumbnail
from thumbq.cli.observe import readiness
from thumbq.v1 import queue_pb2_grpc
from thumbq_server.storage.postgres.address import parse_address
from thumbq_server.storage.postgres.database import Database
from thumbq_server.storage.postgres.errors import Unavailable
from thumbq_server.storage.postgres.lane import Lane

pytestmark = pytest.mark.sessions("has poolers of its own")
BACKENDS = 2
JOBS = 200
IN_TROUBLE = "the pooler gives no connection to PostgreSQL: if that is up, raise the pooler's default_pool_size"


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
                return await reason() == IN_TROUBLE

            async def is_back() -> bool:
                return not await reason()

            async def is_refused(way: Database | Lane) -> None:
                with pytest.raises(Unavailable, match=IN_TROUBLE):
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


async def test_nothing_is_lost_while_a_pooler_starts_again_and_renews_its_connections(
    database_url: str, tmp_path: Path
) -> None:
    place = parse_address(database_url)
    process, port = launch_pooler(place, "transaction", tmp_path)
    pooler = at_pooler(database_url, port)
    acknowledged: list[int] = []
    handled: Counter[int] = Counter()
    try:
        async with (
            running_server(pooler, listen_url=database_url) as server,
            connected(database_url) as database,
            Producer(server, timeout=120) as producer,
        ):

            async def produce() -> None:
                while True:
                    job = NewJob(model_id=len(acknowledged) + 1, model_hash=HASH, max_attempts=10)
                    acknowledged.append((await producer.enqueue_one(job)).job_id)

            async def handle(job: Job) -> Thumbnail:
                handled[job.id] += 1
                return PICTURE

            async def goes_on() -> None:
                """Wait until more is enqueued, and more completed, than before."""
                enqueued, completed = len(acknowledged) + 20, len(handled) + 20

                async def is_so() -> bool:
                    return len(acknowledged) >= enqueued and len(handled) >= completed

                await eventually(is_so, timeout=60)

            async with working(server, handle, concurrency=10):
                producing = asyncio.create_task(produce())
                for _ in range(2):
                    await goes_on()
                    await tell_pooler(pooler, "RECONNECT")
                    await goes_on()
                    process.send_signal(signal.SIGTERM)
                    await asyncio.to_thread(process.wait)
                    process, _ = launch_pooler(place, "transaction", tmp_path, port)
                await goes_on()
                producing.cancel()
                with suppress(asyncio.CancelledError):
                    await producing

                async def all_done() -> bool:
                    left = "SELECT count(*) FROM job_states WHERE status <> 'Completed'"
                    return not await database.fetchval(left)

                await eventually(all_done, timeout=60)
            rows = await database.fetch("SELECT id FROM job_states WHERE status = 'Completed'")
            assert set(acknowledged) <= {row["id"] for row in rows}
    finally:
        process.terminate()
        process.communicate()
