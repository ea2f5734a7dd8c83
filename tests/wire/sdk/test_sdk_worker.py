"""The SDK's worker against a real server."""

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterator, Mapping

import asyncpg
import grpc
import pytest

from tests.support.service.server import running_server
from tests.support.waiting import eventually
from tests.wire.sdk.sdk import PICTURE, Gate, confirmed, connected, enqueue, reached, statuses, until, working
from thumbq import InvalidRequest, Job, JobFailed, JobReleased, Thumbnail, Worker
from thumbq.outbox import Outbox
from thumbq.v1.queue_pb2 import DequeueJobRequest, StreamJobsRequest
from thumbq.v1.queue_pb2_grpc import QueueServiceStub
from thumbq.working.slots import Slots
from thumbq_server.rpc.streaming import acknowledgements


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[asyncpg.Connection]:
    async with connected(database_url) as connection:
        yield connection


@pytest.fixture
def gate() -> Gate:
    return Gate()


@pytest.fixture
def result_messages(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The sizes of all Results messages sent."""
    sizes: list[int] = []
    take = Outbox.take

    def counted(outbox: Outbox, *, columns: bool) -> StreamJobsRequest | None:
        if message := take(outbox, columns=columns):
            assert not message.results.results
            sizes.append(sum(len(group.job_ids) for group in message.results.completed))
        return message

    monkeypatch.setattr(Outbox, "take", counted)
    return sizes


async def test_two_workers_drain_ten_thousand_jobs_exactly_once_in_large_messages(
    server: str, database: asyncpg.Connection, result_messages: list[int]
):
    ids = await enqueue(server, 10_000)
    runs: Counter[int] = Counter()

    async def handler(job: Job) -> Thumbnail:
        runs[job.id] += 1
        return PICTURE

    async with (
        working(server, handler, worker_id="one", concurrency=1000, prefetch=1000),
        working(server, handler, worker_id="two", concurrency=1000, prefetch=1000),
    ):
        await reached(database, Completed=10_000)

    assert runs == Counter(ids)
    assert await database.fetchval("SELECT count(*) FROM job_states WHERE attempt_count <> 1") == 0
    # Pending and Ready for each job, without a gap
    assert await database.fetchval("SELECT seq FROM queue_head") == 20_000
    assert (
        await database.fetchval(
            """SELECT count(*) FROM (SELECT seq_first - lag(seq_last, 1, 0::bigint) OVER (ORDER BY seq_last) AS step
                 FROM notifications) AS steps WHERE step <> 1"""
        )
        == 0
    )
    assert sum(result_messages) == 10_000
    assert len(result_messages) < 200


async def test_a_worker_takes_no_more_while_the_results_of_a_window_wait_for_their_commit(
    server: str, database_url: str, database: asyncpg.Connection
):
    await enqueue(server, 40)
    runs: list[int] = []

    async def handler(job: Job) -> Thumbnail:
        runs.append(job.id)
        return PICTURE

    async with connected(database_url) as other, working(server, handler, concurrency=3, prefetch=2):
        async with other.transaction():
            await other.execute("LOCK TABLE attempts")  # completions need this table, and claims do not
            # Its jobs in hand, as many results, and the four whose acknowledgements the server might hold back.
            await until(lambda: len(runs) == 14)
            async with grpc.aio.insecure_channel(server) as channel:
                # This claim comes after all claims of the worker.
                request = DequeueJobRequest(worker_id="js-1")
                assert (await QueueServiceStub(channel).DequeueJob(request)).HasField("job")
            assert len(runs) == 14
        await reached(database, Completed=39, Processing=1)


async def test_a_single_slot_reports_and_asks_again_at_once(
    database_url: str, database: asyncpg.Connection, result_messages: list[int]
):
    async def handler(job: Job) -> Thumbnail:
        return PICTURE

    # A worker that waited for the next heartbeat would need days.
    async with running_server(database_url, heartbeat_interval=3600) as server:
        await enqueue(server, 50)
        async with working(server, handler, concurrency=1):
            await reached(database, Completed=50)
    assert result_messages == [1] * 50


async def test_a_worker_needs_no_acknowledgement_of_its_own_message(
    server: str, database: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    async def handler(job: Job) -> Thumbnail:
        return PICTURE

    monkeypatch.setattr(acknowledgements, "HELD_SECONDS", 600.0)
    await enqueue(server, 50)
    async with working(server, handler, concurrency=1):
        await reached(database, Completed=50)
    assert "were not confirmed" not in caplog.text


async def test_held_jobs_never_exceed_the_credits(
    database_url: str, database: asyncpg.Connection, gate: Gate, monkeypatch: pytest.MonkeyPatch
):
    held = []
    accept = Slots.accept

    def observed(slots: Slots, jobs: Mapping[str, Job]) -> None:
        accept(slots, jobs)
        held.append(len(slots.held))

    monkeypatch.setattr(Slots, "accept", observed)
    async with running_server(database_url, heartbeat_interval=1) as server:
        await enqueue(server, 40)
        async with working(server, gate, concurrency=3, prefetch=2):
            await confirmed(database, 5)
            assert await statuses(database) == {"Processing": 5, "Pending": 35}
            gate.open.set()
            await reached(database, Completed=40)
    assert gate.most_running == 3
    assert max(held) == 5


@pytest.mark.parametrize("waits", [False, True])
async def test_the_queue_learns_what_a_handler_raises(server: str, database: asyncpg.Connection, waits: bool):
    surprise, final, released = await enqueue(server, 3)
    releases = 0

    async def handler(job: Job) -> Thumbnail:
        nonlocal releases
        if waits:
            await asyncio.sleep(0)
        if job.id == surprise:
            raise FileNotFoundError("no such model")
        if job.id == final:
            raise JobFailed("not a model at all", retryable=False)
        releases += 1
        if releases == 1:
            raise JobReleased
        return PICTURE

    async with working(server, handler):
        await reached(database, Pending=1, Failed=1, Completed=1)

    rows = {row["id"]: row for row in await database.fetch("SELECT * FROM job_states")}
    assert rows[surprise]["error_message"] == "FileNotFoundError: no such model"
    assert rows[surprise]["attempt_count"] == 1
    assert rows[final]["error_message"] == "not a model at all"
    assert rows[final]["attempt_count"] == 1
    assert rows[released]["attempt_count"] == 1  # the released attempt was given back


async def test_a_retry_delay_takes_the_place_of_the_back_off(server: str, database: asyncpg.Connection):
    await enqueue(server, 1)
    attempts = []

    async def handler(job: Job) -> Thumbnail:
        attempts.append(job.attempt_count)
        if len(attempts) == 1:
            raise JobFailed("not yet", retry_delay=0.05)
        return PICTURE

    async with working(server, handler):
        await reached(database, Completed=1)
    assert attempts == [1, 2]


async def test_a_refused_result_fails_the_job_with_the_reason_and_is_named_at_the_end(
    server: str, database: asyncpg.Connection, caplog: pytest.LogCaptureFixture
):
    refused, _ = await enqueue(server, 2, max_attempts=1)
    caplog.set_level(logging.INFO, "thumbq")

    async def handler(job: Job) -> Thumbnail:
        return Thumbnail("/thumbnails/../secret.png", 1, 1, 1) if job.model_id == 1 else PICTURE

    async with working(server, handler):
        await reached(database, Completed=1, Failed=1)
    message = await database.fetchval("SELECT error_message FROM job_states WHERE model_id = 1")
    assert message.startswith("The worker's result was refused: ")
    assert caplog.records[-1].getMessage() == f"Worker ended: 1 jobs completed, 0 failed, 1 refused (jobs {refused})"


async def test_a_worker_that_is_configured_wrongly_is_refused(server: str):
    async def handler(job: Job) -> Thumbnail:
        return PICTURE

    async with Worker(server, worker_id="x" * 101) as worker:
        with pytest.raises(InvalidRequest, match="WorkerId is longer than 100 characters"):
            await worker.run(handler, handle_signals=False)


async def test_a_worker_that_is_cancelled_gives_its_jobs_back(server: str, database: asyncpg.Connection, gate: Gate):
    await enqueue(server, 3)
    async with Worker(server, concurrency=2, prefetch=1) as worker:
        run = asyncio.create_task(worker.run(gate, handle_signals=False))
        await gate.begun(2)
        run.cancel()
        with pytest.raises(asyncio.CancelledError):
            await run
    await reached(database, Pending=3)
    assert await database.fetchval("SELECT max(attempt_count) FROM job_states") == 0


async def test_stopping_finishes_running_jobs_and_releases_the_others(
    server: str, database: asyncpg.Connection, gate: Gate
):
    await enqueue(server, 5)
    async with working(server, gate, concurrency=2, prefetch=2) as worker:
        await gate.begun(2)
        worker.stop()
        await reached(database, Pending=3, Processing=2)
        gate.open.set()
    await reached(database, Pending=3, Completed=2)
    assert gate.runs.total() == 2
    assert await database.fetchval("SELECT max(attempt_count) FROM job_states WHERE status = 'Pending'") == 0


async def test_jobs_that_outlast_the_grace_are_cancelled_and_released(
    server: str, database: asyncpg.Connection, gate: Gate
):
    await enqueue(server, 1)
    async with working(server, gate, grace=0.05) as worker:
        await gate.begun(1)
        worker.stop()
    assert gate.cancelled == 1
    assert await statuses(database) == {"Pending": 1}


async def test_a_worker_waits_for_its_server_and_logs_that_once(
    database_url: str, database: asyncpg.Connection, unused_tcp_port: int, caplog: pytest.LogCaptureFixture
):
    address = f"127.0.0.1:{unused_tcp_port}"

    async def handler(job: Job) -> Thumbnail:
        return PICTURE

    async def messages() -> list[str]:
        return [record.getMessage() for record in caplog.records if record.name == "thumbq"]

    with caplog.at_level(logging.WARNING, "thumbq"):
        async with working(address, handler):
            await eventually(messages)
            async with running_server(database_url, grpc_port=unused_tcp_port):
                await enqueue(address, 1)
                await reached(database, Completed=1)
    away, back = await messages()
    assert away.startswith(f"{address} is away (UNAVAILABLE: ")
    assert back.startswith(f"{address} is back after ")
