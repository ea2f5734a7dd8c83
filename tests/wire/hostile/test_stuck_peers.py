"""Workers that send and do not read: they cost little, and are in the way of nothing."""

import asyncio
import contextlib
import time
from contextlib import AsyncExitStack
from typing import Any

import grpc
import pytest
from structlog.testing import capture_logs

from tests.support.postgres.freezing import freezing_host
from tests.support.service.server import running_server
from tests.wire.hostile.hostile import memory
from tests.wire.sdk.sdk import until
from tests.wire.worker import PICTURE, Worker, enqueue
from thumbq.v1 import job_pb2, notification_pb2_grpc, queue_pb2, queue_pb2_grpc
from thumbq.v1.notification_pb2 import SubscribeRequest, WatchQueueRequest
from thumbq_server.rpc.streaming import writing
from thumbq_server.storage.postgres.address import parse_address

HEARTBEAT = queue_pb2.StreamJobsRequest.Heartbeat(
    lease_tokens=[f"{number}-1" for number in range(1_000_000, 1_010_000)]
)


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(writing, "STUCK_SECONDS", 1.0)


async def test_a_worker_that_beats_and_does_not_read_is_given_up(queue):
    worker = Worker(queue)
    await worker.hello()
    before = memory()

    async def beat() -> None:
        while True:
            await worker.send(heartbeat=HEARTBEAT)

    with capture_logs() as lines:
        beating = asyncio.create_task(beat())
        await until(lambda: any(line["event"] == "stream.broken" for line in lines))
        assert memory() - before < 200
        with contextlib.suppress(grpc.aio.AioRpcError):
            async with asyncio.timeout(30):
                while await worker.call.read() is not grpc.aio.EOF:
                    pass
    [line] = [line for line in lines if line["event"] == "stream.broken"]
    assert line["error"] == "the client does not read what it is sent"
    beating.cancel()
    await asyncio.wait([beating])


async def test_a_worker_that_reads_is_kept_for_longer_than_a_message_may_take(queue):
    worker = Worker(queue)
    await worker.hello()
    ends = time.monotonic() + 3 * writing.STUCK_SECONDS
    while time.monotonic() < ends:
        await worker.send(heartbeat=queue_pb2.StreamJobsRequest.Heartbeat(lease_tokens=["1-1"]))
        assert (await worker.receives("lease_lost")).lease_tokens == ["1-1"]


async def stuck_worker(queue, count: int) -> tuple[Worker, str]:
    """Return a worker that wants many jobs, beats, and reads none of them; and its session."""
    worker = Worker(queue)
    session = (await worker.hello()).session_id
    await enqueue(queue, *range(1, count + 1))
    await worker.wants(count)
    return worker, session


async def test_a_worker_that_does_not_read_is_taken_over(queue):
    _, session = await stuck_worker(queue, 10_000)
    newer = Worker(queue)
    async with asyncio.timeout(30):
        assert (await newer.hello(session_id=session)).session_id == session


async def test_a_server_ends_by_its_deadline_whether_its_peers_read_or_not(database_url, monkeypatch):
    monkeypatch.setattr(writing, "STUCK_SECONDS", 60.0)
    async with AsyncExitStack() as channels:
        async with running_server(database_url, shutdown_grace=1.0) as address:
            channel = await channels.enter_async_context(grpc.aio.insecure_channel(address))
            notifications = notification_pb2_grpc.NotificationServiceStub(channel)
            unread: list[Any] = [
                notifications.Subscribe(SubscribeRequest()),
                notifications.WatchQueue(WatchQueueRequest()),
            ]
            for call in unread:
                await call.read()
            await stuck_worker(queue_pb2_grpc.QueueServiceStub(channel), 10_000)
            asked = time.monotonic()
        # One second of grace, and a few for what must end after it.
        assert time.monotonic() - asked < 15


async def test_a_server_ends_by_its_deadline_while_postgresql_is_silent(database_url):
    """A worker has ended its side, and its results wait. Another one's stream begins."""
    async with AsyncExitStack() as stack:
        host = await stack.enter_async_context(freezing_host(database_url))
        frozen = f"postgresql://{parse_address(database_url).user}@127.0.0.1:{host.port}/"
        frozen += f"{parse_address(database_url).database}?sslmode=disable"
        async with running_server(frozen, shutdown_grace=1.0, lease_duration=3600) as address:
            channel = await stack.enter_async_context(grpc.aio.insecure_channel(address))
            queue = queue_pb2_grpc.QueueServiceStub(channel)
            worker = Worker(queue)
            await worker.hello()
            await enqueue(queue, 1)
            await worker.wants(1)
            [job] = (await worker.receives("jobs")).jobs
            host.frozen = True
            await worker.reports(1, job_pb2.Result(lease_token=job.lease_token, complete=PICTURE))
            await worker.call.done_writing()
            await Worker(queue).send(hello=queue_pb2.StreamJobsRequest.Hello(worker_id="w2"))
            asked = time.monotonic()
        assert time.monotonic() - asked < 25
