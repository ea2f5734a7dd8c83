"""PostgreSQL fails in each way that it can, while the server keeps running."""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import AsyncIterator, Awaitable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import asyncpg
import grpc
import pytest
from google.protobuf.duration_pb2 import Duration

from tests.support.network.http_client import Client
from tests.support.postgres.made_data import copy_data
from tests.support.service.gateway import running_gateway
from tests.support.service.server import running_server
from tests.support.waiting import eventually
from tests.wire.worker import Worker, done, enqueue, state
from thumbq.v1 import job_pb2, notification_pb2, notification_pb2_grpc, queue_pb2, queue_pb2_grpc
from thumbq_launcher.postgres.embedded import AT_ONCE, EmbeddedPostgres

if TYPE_CHECKING:
    Queue = queue_pb2_grpc.QueueServiceAsyncStub
LISTENER = "SELECT pid FROM pg_stat_activity WHERE query LIKE 'LISTEN%' AND datname = current_database()"


@pytest.fixture
def own_postgres(tmp_path: Path, made_data: Path) -> Iterator[EmbeddedPostgres]:
    """A PostgreSQL that this test may kill."""
    postgres = EmbeddedPostgres(copy_data(made_data, tmp_path / "data"))
    postgres.start()
    yield postgres
    postgres.stop()


@pytest.fixture
async def queue(own_postgres: EmbeddedPostgres) -> AsyncIterator[Queue]:
    """The queue of a server on `own_postgres`."""
    async with (
        running_server(own_postgres.dsn) as address,
        grpc.aio.insecure_channel(address) as channel,
    ):
        yield queue_pb2_grpc.QueueServiceStub(channel)


async def kill(postgres: EmbeddedPostgres) -> None:
    """Kill PostgreSQL without blocking the event loop: a server on a loop that stands still sends its workers away."""
    await asyncio.to_thread(postgres.stop, AT_ONCE)


async def start(postgres: EmbeddedPostgres) -> None:
    """Start PostgreSQL again without blocking the event loop, on which the server runs too."""
    postgres.launch()

    async def ready() -> bool:
        return postgres.ready()

    await eventually(ready, timeout=30)


async def answers(queue: Queue) -> bool:
    """Return whether a call that needs PostgreSQL succeeds; the only permitted error is UNAVAILABLE."""
    return await succeeds(queue.ListJobs(queue_pb2.ListJobsRequest()))


async def succeeds(call: Awaitable[Any]) -> bool:
    """Return False if the call fails with UNAVAILABLE; any other error fails the test."""
    try:
        await call
    except grpc.aio.AioRpcError as error:
        if error.code() != grpc.StatusCode.UNAVAILABLE:
            raise
        return False
    return True


async def away(queue: Queue) -> bool:
    return not await answers(queue)


async def beat(worker: Worker, *jobs: job_pb2.Job) -> None:
    """Keep the stream and its leases alive."""
    while True:
        await worker.holds(*jobs)
        await asyncio.sleep(0.1)


async def lives_through(queue: Queue, own_postgres: EmbeddedPostgres, worker: Worker) -> None:
    """On the stream that was open before the outage, a held job is reported and a waiting one is claimed."""
    await enqueue(queue, 1)
    await worker.hello()
    await worker.wants(1)
    (held,) = (await worker.receives("jobs")).jobs
    heartbeat = asyncio.create_task(beat(worker, held))
    await worker.wants(1)

    await kill(own_postgres)
    await eventually(lambda: away(queue))
    await worker.reports(1, done(held))  # during the outage
    await start(own_postgres)
    await eventually(lambda: answers(queue))

    assert not (await worker.receives("result_acks")).exceptions
    await enqueue(queue, 2)
    (waiting,) = (await worker.receives("jobs")).jobs
    assert (waiting.model_id, waiting.attempt_count) == (2, 1)
    assert (await state(queue, held.id)).status == job_pb2.JOB_STATUS_COMPLETED
    heartbeat.cancel()


async def test_streams_stay_up_while_postgresql_is_killed_and_comes_back(queue, own_postgres):
    worker = Worker(queue)
    await lives_through(queue, own_postgres, worker)


async def test_leases_that_ran_out_during_an_outage_are_still_their_workers(own_postgres):
    async with (
        running_server(own_postgres.dsn, lease_duration=8, delivery_lease_duration=8) as address,
        grpc.aio.insecure_channel(address) as channel,
    ):
        queue = queue_pb2_grpc.QueueServiceStub(channel)
        worker = Worker(queue)
        await enqueue(queue, 1)
        await worker.hello()
        await worker.wants(1)
        (job,) = (await worker.receives("jobs")).jobs
        heartbeat = asyncio.create_task(beat(worker, job))
        await kill(own_postgres)
        await asyncio.sleep(8.5)  # the outage itself: longer than the lease
        await start(own_postgres)
        await eventually(lambda: answers(queue))
        await worker.reports(1, done(job))
        assert not (await worker.receives("result_acks")).exceptions
        assert (await state(queue, job.id)).attempt_count == 1
        heartbeat.cancel()


async def test_terminated_connections_are_opened_again(queue, own_postgres):
    worker = Worker(queue)
    await enqueue(queue, 1)
    await worker.hello()
    await worker.wants(1)
    (job,) = (await worker.receives("jobs")).jobs
    connection = await asyncpg.connect(own_postgres.dsn)
    for number in range(5):
        await connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'"
        )
        await eventually(lambda: answers(queue))
        await worker.wants(1)
        await eventually(partial(enqueued, queue, number + 2))
        await worker.receives("jobs")
    await worker.reports(1, done(job))
    assert not (await worker.receives("result_acks")).exceptions
    await connection.close()


async def enqueued(queue: Queue, model_id: int) -> bool:
    """Try to enqueue a job; a retry after UNAVAILABLE is safe."""
    return await succeeds(enqueue(queue, model_id))


async def test_without_listen_everything_still_arrives(database_url):
    async with (
        running_server(database_url) as first,
        running_server(database_url) as second,
        grpc.aio.insecure_channel(first) as channel,
        grpc.aio.insecure_channel(second) as other_channel,
    ):
        connection = await asyncpg.connect(database_url)
        await eventually(lambda: connection.fetch(LISTENER))
        worker = Worker(queue_pb2_grpc.QueueServiceStub(channel))
        await worker.hello()
        await worker.wants(1)
        page: Any = notification_pb2_grpc.NotificationServiceStub(channel).Subscribe(
            notification_pb2.SubscribeRequest()
        )
        await page.read()
        for row in await connection.fetch(LISTENER):
            await connection.execute("SELECT pg_terminate_backend($1)", row["pid"])
        await enqueue(queue_pb2_grpc.QueueServiceStub(other_channel), 7)
        (job,) = (await worker.receives("jobs")).jobs
        assert job.model_id == 7
        news = await asyncio.wait_for(page.read(), 30)
        assert [notification.model_id for notification in news.notifications] == [7]
        await connection.close()


async def test_a_statement_that_takes_too_long_is_given_up_and_changes_nothing(database_url):
    async with (
        running_server(database_url, statement_timeout=2) as address,
        grpc.aio.insecure_channel(address) as channel,
    ):
        queue = queue_pb2_grpc.QueueServiceStub(channel)
        connection = await asyncpg.connect(database_url)
        async with connection.transaction():
            await connection.execute("UPDATE queue_head SET seq = seq")  # every announcement waits for this lock
            assert not await enqueued(queue, 1)
            # What needs no lock is answered. On a busy machine it may take longer than two seconds itself.
            await eventually(lambda: answers(queue))
            assert not await connection.fetchval("SELECT count(*) FROM jobs")
        await eventually(lambda: enqueued(queue, 1))
        await connection.close()


async def test_a_json_worker_is_told_to_come_back_and_a_page_stays(own_postgres):
    async with running_server(own_postgres.dsn) as address, running_gateway(address) as http:
        client = Client(http)
        job_id = await client.enqueue(42)
        await kill(own_postgres)
        for path, body in (
            ("/api/thumbnail-jobs/dequeue", {"workerId": "w1"}),
            (f"/api/thumbnail-jobs/{job_id}/fail", {"errorMessage": "no"}),
            ("/api/thumbnail-jobs", {"modelId": 1, "modelHash": "ab" * 32}),
        ):
            answer = await client.post(path, body)
            assert (answer.status, answer.headers["Retry-After"]) == (503, "1"), (path, answer.text)
        await start(own_postgres)

        async def dequeued():
            return (await client.post("/api/thumbnail-jobs/dequeue", {"workerId": "w1"})).status == 200

        await eventually(dequeued)


@pytest.fixture
def cramped_postgres(tmp_path: Path) -> Iterator[EmbeddedPostgres]:
    """A PostgreSQL on a file system of 200 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=200m", "tmpfs", folder], check=True)
    postgres = EmbeddedPostgres(folder / "data")
    postgres.start()
    yield postgres
    postgres.stop()
    subprocess.run(["umount", "--lazy", folder], check=True)


@pytest.mark.small_disk
async def test_a_full_disk_stops_the_queue_and_loses_nothing(cramped_postgres):
    disk = cramped_postgres.data_dir.parent
    async with (
        running_server(cramped_postgres.dsn) as address,
        grpc.aio.insecure_channel(address) as channel,
    ):
        queue = queue_pb2_grpc.QueueServiceStub(channel)
        accepted = list(await enqueue(queue, *range(1, 1001)))
        ballast = disk / "ballast"
        with ballast.open("wb") as file:
            room = os.statvfs(disk)
            os.posix_fallocate(file.fileno(), 0, (room.f_bavail - 64) * room.f_frsize)
        model_id = 1001

        async def enqueue_more() -> None:
            accepted.extend(await enqueue(queue, *range(model_id, model_id + 1000)))

        while await succeeds(enqueue_more()):
            model_id += 1000
        ballast.unlink()

        async def is_back() -> bool:
            process = cramped_postgres.process
            if process is None or process.poll() is not None:
                # PostgreSQL ends when its log has no room, some time later; then its parent starts it again.
                await asyncio.to_thread(cramped_postgres.stop)
                await start(cramped_postgres)
            return await enqueued(queue, 1_000_000)

        await eventually(is_back, timeout=60)
        request = queue_pb2.DequeueJobsRequest(worker_id="w1", max_jobs=100, wait=Duration(seconds=30))
        taken: set[int] = set()
        while jobs := (await queue.DequeueJobs(request)).jobs:
            taken.update(job.id for job in jobs)
            request.wait.seconds = 0
        assert {answer.job_id for answer in accepted} <= taken
