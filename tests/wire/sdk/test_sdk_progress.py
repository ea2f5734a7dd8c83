"""Progress with the SDK: what handlers of each sort tell, and how seldom it is sent."""

import asyncio
import math
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tests.support.service.between import server_between
from tests.support.waiting import eventually
from tests.wire.sdk import process_handlers
from tests.wire.sdk.sdk import PICTURE, connected, enqueue, reached, working
from thumbq import (
    Client,
    Job,
    JobInfo,
    JobProgress,
    Notification,
    Reset,
    Subscriber,
    Thumbnail,
    ThumbnailStatus,
    Worker,
    report_progress,
)
from thumbq.v1 import queue_pb2_grpc


async def shows(client: Client, job_id: int, fraction: float, text: str | None) -> JobInfo:
    async def told() -> JobInfo | None:
        job = await client.job(job_id)
        return job if (job.progress, job.progress_text) == (fraction, text) else None

    found: JobInfo = await eventually(told, 60)
    return found


async def test_an_async_handler_tells_how_far_it_is(server: str, database_url: str):
    seen = asyncio.Event()

    async def render(job: Job) -> Thumbnail:
        report_progress(job, 0.1)
        report_progress(job, 0.4, "meshing")
        await seen.wait()
        return PICTURE

    async with Client(server) as client, connected(database_url) as database, working(server, render):
        (job_id,) = await enqueue(server, 1)
        assert (await shows(client, job_id, 0.4, "meshing")).progress_at is not None
        seen.set()
        await reached(database, Completed=1)
        assert (await client.job(job_id)).progress is None


async def test_a_blocking_handler_tells_from_its_thread(server: str, database_url: str):
    seen = threading.Event()

    def render(job: Job) -> Thumbnail:
        report_progress(job, 1, "saving")
        seen.wait(60)
        return PICTURE

    async with Client(server) as client, connected(database_url) as database, working(server, render):
        (job_id,) = await enqueue(server, 1)
        await shows(client, job_id, 1, "saving")
        seen.set()
        await reached(database, Completed=1)


async def test_a_handler_tells_from_its_process(server: str, database_url: str):
    async with Client(server) as client, connected(database_url) as database, Worker(server, concurrency=1) as worker:
        (job_id,) = await enqueue(server, 1)
        running = asyncio.create_task(
            worker.run(process_handlers.tells_and_hangs, processes=True, handle_signals=False)
        )
        await shows(client, job_id, 0.5, "in a process")
        await client.cancel(job_id)
        await reached(database, Cancelled=1)
        worker.stop()
        await running


@asynccontextmanager
async def server_in_between(behind: str, *, older: bool = False) -> AsyncIterator[tuple[str, list[Any]]]:
    """A server that passes on streams, and the Progress messages that came. `older`: it says that it knows none."""
    told: list[Any] = []

    class Between(queue_pb2_grpc.QueueServiceServicer):
        def __init__(self, stub: Any) -> None:
            self._stub = stub

        async def StreamJobs(self, requests: Any, context: Any) -> AsyncIterator[Any]:  # noqa: N802
            async def noted() -> AsyncIterator[Any]:
                async for request in requests:
                    if request.HasField("progress"):
                        told.append(request.progress)
                    yield request

            async for answer in self._stub.StreamJobs(noted()):
                if older and answer.HasField("welcome"):
                    answer.welcome.ClearField("progress")
                yield answer

    async with server_between(behind, Between) as address:
        yield address, told


async def test_there_is_one_message_a_second_for_all_jobs_together(server: str, database_url: str):
    begun = 0
    all_begun, seen = asyncio.Event(), asyncio.Event()

    async def render(job: Job) -> Thumbnail:
        nonlocal begun
        begun += 1
        if begun == 8:
            all_begun.set()
        await all_begun.wait()
        for step in range(1001):
            report_progress(job, step / 1000)
        await seen.wait()
        return PICTURE

    async with (
        Client(server) as client,
        connected(database_url) as database,
        server_in_between(server) as (address, told),
    ):
        job_ids = await enqueue(server, 8)
        loop = asyncio.get_running_loop()
        started = loop.time()
        async with working(address, render, concurrency=8):
            for job_id in job_ids:
                await shows(client, job_id, 1, None)
            assert len(told) <= 1 + (loop.time() - started) / 0.99
            seen.set()
            await reached(database, Completed=8)


async def test_an_older_server_is_not_sent_progress(server: str, database_url: str):
    async def render(job: Job) -> Thumbnail:
        for _ in range(20):
            report_progress(job, 0.5)
            await asyncio.sleep(0)
        return PICTURE

    async with connected(database_url) as database, server_in_between(server, older=True) as (address, told):
        await enqueue(server, 20)
        async with working(address, render):
            await reached(database, Completed=20)
    assert told == []


async def test_a_worker_that_tells_nothing_sends_nothing(server: str, database_url: str):
    async def render(job: Job) -> Thumbnail:
        return PICTURE

    async with connected(database_url) as database, server_in_between(server) as (address, told):
        await enqueue(server, 20)
        async with working(address, render):
            await reached(database, Completed=20)
    assert told == []


@pytest.mark.parametrize("fraction", [math.nan, math.inf, -0.1, 1.1])
def test_a_fraction_outside_0_to_1_is_refused(fraction: float):
    with pytest.raises(ValueError, match="from 0 to 1"):
        report_progress(Job(), fraction)


@pytest.mark.parametrize("text", ["a\nb", "\x00", "x" * 201])
def test_a_text_that_is_long_or_not_printable_is_refused(text: str):
    with pytest.raises(ValueError, match="at most 200 printable"):
        report_progress(Job(), 0.5, text)


def test_outside_a_worker_it_does_nothing():
    report_progress(Job(), 0.5, "meshing")


async def test_a_subscriber_is_told_if_it_asks(server: str):
    seen = asyncio.Event()
    told: list[JobProgress] = []

    async def render(job: Job) -> Thumbnail:
        report_progress(job, 0.4, "meshing")
        await seen.wait()
        return PICTURE

    def show(progress: JobProgress) -> None:
        told.append(progress)
        seen.set()

    async with Subscriber(server, on_progress=show) as subscriber, working(server, render):
        (job_id,) = await enqueue(server, 1)
        async with asyncio.timeout(60):
            # the worker ends its job only after the subscriber was told
            news = [item async for item in _until_ready(subscriber)]
    assert {(item.model_id, item.job_id, item.progress, item.progress_text) for item in told} == {
        (1, job_id, 0.4, "meshing")
    }
    assert all(isinstance(item, Notification) for item in news)


async def _until_ready(subscriber: Subscriber) -> AsyncIterator[Notification | Reset]:
    async for item in subscriber:
        yield item
        if isinstance(item, Notification) and item.status == ThumbnailStatus.THUMBNAIL_STATUS_READY:
            return
