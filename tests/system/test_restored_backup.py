"""A running server, gateway and worker meet another history: each subscriber gets one reset.

A copied data folder is put back, or a standby is promoted without the last commits of its primary.
"""

import asyncio
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import asyncpg
import grpc
import pytest

from tests.support.network.http_client import Client
from tests.support.postgres.standby import FolderBackup, PromotedStandby
from tests.support.service.gateway import running_gateway
from tests.support.service.server import running_server
from tests.support.service.subscribers import PageSubscriber, StreamSubscriber, Subscriber, when_it_is_back
from tests.support.waiting import eventually
from tests.wire.worker import PICTURE, enqueue, state
from thumbq import Job, Thumbnail, Worker
from thumbq.v1 import job_pb2, queue_pb2, queue_pb2_grpc

HELD, LOST, NEW = 10, 20, 30
BEAT = "SELECT beat FROM queue_head"


@pytest.fixture(params=[FolderBackup, PromotedStandby], ids=["copied folder", "promoted standby"])
async def backup(request, tmp_path: Path):
    async with request.param(tmp_path) as backup:
        yield backup


class Render:
    """A worker of the SDK. It holds the job of one model until the test permits its end."""

    def __init__(self, server: str) -> None:
        self._server = server
        self.tokens: dict[int, str] = {}
        self.handled: list[int] = []
        self.may_end = asyncio.Event()

    @asynccontextmanager
    async def running(self):
        async with Worker(self._server, worker_id="render", concurrency=4) as worker:
            task = asyncio.create_task(worker.run(self._handle, handle_signals=False))
            yield
            worker.stop()
            await task

    async def _handle(self, job: Job) -> Thumbnail:
        self.tokens[job.model_id] = job.lease_token
        if job.model_id == HELD:
            await self.may_end.wait()
        self.handled.append(job.model_id)
        return Thumbnail(path=f"/{job.model_id}.png", size_bytes=1, width=1, height=1)

    async def holds(self) -> None:
        async def held() -> bool:
            return HELD in self.tokens

        await eventually(held, timeout=30)

    async def handles(self, model_id: int) -> None:
        async def done() -> bool:
            return model_id in self.handled

        await eventually(done, timeout=30)


async def server_has_lived_on(dsn):
    """Wait until the server has seen a beat that the copy does not have: it notices by nothing else."""
    connection = await asyncpg.connect(dsn)
    first = await connection.fetchval(BEAT)

    async def is_later():
        # The answer to the beat before the last one has arrived for certain.
        return await connection.fetchval(BEAT) >= first + 2

    await eventually(is_later, timeout=30)
    connection.terminate()


async def completes(queue, job_id):
    """Wait until the job is completed."""

    async def completed():
        return (await state(queue, job_id)).status == job_pb2.JOB_STATUS_COMPLETED

    await eventually(completed, timeout=30)


async def is_stale(queue, token):
    """Check that a completion with this token is refused, whatever job has its number now."""
    result = job_pb2.Result(lease_token=token, complete=PICTURE)
    (exception,) = (await queue.ReportResults(queue_pb2.ReportResultsRequest(results=[result]))).exceptions
    assert (exception.lease_token, exception.code) == (token, queue_pb2.RESULT_CODE_STALE)


async def test_each_subscriber_gets_one_reset_and_no_token_from_before_counts(backup):
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(running_server(backup.dsn))
        client = Client(await stack.enter_async_context(running_gateway(server, heartbeat=1)))
        queue = queue_pb2_grpc.QueueServiceStub(await stack.enter_async_context(grpc.aio.insecure_channel(server)))
        (kept,) = await when_it_is_back(lambda: enqueue(queue, 1))
        await backup.take()
        await when_it_is_back(lambda: queue.ListJobs(queue_pb2.ListJobsRequest()))
        render = Render(server)
        await stack.enter_async_context(render.running())
        channel = await stack.enter_async_context(grpc.aio.insecure_channel(server))
        subscribers: list[Subscriber] = [StreamSubscriber(channel), PageSubscriber(client)]
        for subscriber in subscribers:
            await stack.enter_async_context(subscriber.reading())
            await subscriber.is_there()
        (held,) = await enqueue(queue, HELD)
        await enqueue(queue, *range(LOST, LOST + 10))
        await render.holds()
        for subscriber in subscribers:
            await subscriber.sees(LOST + 9)

        await server_has_lived_on(backup.dsn)
        await backup.restore()

        new = list(await when_it_is_back(lambda: enqueue(queue, *range(NEW, NEW + 10))))
        if backup.repeats_numbers:  # the number of the held job is that of another model's job now
            assert held.job_id in {job.job_id for job in new}
        await is_stale(queue, render.tokens[HELD])
        render.may_end.set()
        for subscriber in subscribers:
            await subscriber.is_reset()
        for job in (kept, *new):
            await completes(queue, job.job_id)
        for model_id in range(NEW, NEW + 10):
            assert (await client.get(f"/models/{model_id}/thumbnail")).json["status"] == "Ready"
        await enqueue(queue, NEW + 10)
        for subscriber in subscribers:
            await subscriber.sees(NEW + 10)
        assert subscribers[0].resets == ["OTHER_LOG"]
        assert subscribers[1].resets == ["OtherLog"]
