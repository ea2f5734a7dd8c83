"""A caller has as many streams as it may have, and a stream that ends in whatever way makes room for another."""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from typing import Any

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from grpc_health.v1.health_pb2 import HealthCheckRequest
from grpc_health.v1.health_pb2_grpc import HealthStub

from tests.support.service.server import running_server
from tests.support.waiting import eventually
from tests.wire.hostile.test_rates import COUNTED, seconds_told
from thumbq.v1.notification_pb2 import SubscribeRequest, WatchQueueRequest
from thumbq.v1.notification_pb2_grpc import NotificationServiceStub
from thumbq.v1.queue_pb2 import (
    DequeueJobRequest,
    EnqueueJobRequest,
    EnqueueStreamRequest,
    GetJobRequest,
    NewJob,
    StreamJobsRequest,
)
from thumbq.v1.queue_pb2_grpc import QueueServiceStub

MOST = 3
BOUNDS = COUNTED | {
    "work_streams_of_address": MOST,
    "enqueue_streams_of_address": MOST,
    "subscriptions_of_address": MOST,
}
HELLO = StreamJobsRequest(hello=StreamJobsRequest.Hello(worker_id="worker-001"))
JOB = EnqueueStreamRequest(number=1, jobs=[NewJob(model_id=1, model_hash="a" * 64)])
# A stream that has its first answer.
Opened = Callable[[grpc.aio.Channel], Awaitable[Any]]


@pytest.fixture
async def address(database_url: str) -> AsyncIterator[str]:
    async with running_server(database_url, **BOUNDS) as opened:
        yield opened


async def work(channel: grpc.aio.Channel) -> Any:
    stream: Any = QueueServiceStub(channel).StreamJobs()
    await stream.write(HELLO)
    assert (await stream.read()).HasField("welcome")
    return stream


async def produce(channel: grpc.aio.Channel) -> Any:
    stream: Any = QueueServiceStub(channel).EnqueueStream()
    await stream.write(JOB)
    assert (await stream.read()).number == 1
    return stream


async def subscribe(channel: grpc.aio.Channel) -> Any:
    stream: Any = NotificationServiceStub(channel).Subscribe(SubscribeRequest())
    assert (await stream.read()).cursor
    return stream


async def watch(channel: grpc.aio.Channel) -> Any:
    stream: Any = NotificationServiceStub(channel).WatchQueue(WatchQueueRequest())
    await stream.read()
    return stream


async def watch_health(channel: grpc.aio.Channel) -> Any:
    health: Any = HealthStub(channel)
    stream = health.Watch(HealthCheckRequest())
    await stream.read()
    return stream


EVERY = {
    "streams of workers": [work],
    "streams of producers": [produce],
    "subscriptions": [subscribe, watch, watch_health],
}


async def test_one_more_of_each_sort_is_refused_and_told_when_to_return(address: str) -> None:
    async with grpc.aio.insecure_channel(address) as channel:
        for named, openers in EVERY.items():
            for number in range(MOST):
                await openers[number % len(openers)](channel)
            for opener in openers:
                with pytest.raises(grpc.aio.AioRpcError, match=f"has {MOST} {named}, as many as it may have"):
                    await opener(channel)
                assert await seconds_told(opener(channel)) == 5


async def _end(stream: Any, channel: grpc.aio.Channel, how: int) -> None:
    if how == 0 and hasattr(stream, "done_writing"):
        await stream.done_writing()
    elif how == 1:
        await channel.close()
    else:
        stream.cancel()


async def test_streams_that_end_in_whatever_way_leave_nothing_counted(address: str) -> None:
    chance = random.Random(1)
    openers = [opener for named in EVERY.values() for opener in named]
    opened: list[tuple[Any, grpc.aio.Channel]] = []

    async def open_one(opener: Opened) -> None:
        channel = grpc.aio.insecure_channel(address, options=[("grpc.use_local_subchannel_pool", 1)])
        opening = asyncio.ensure_future(opener(channel))
        if chance.random() < 0.3:  # the caller leaves before it has its answer
            await asyncio.wait([opening], timeout=chance.random() / 50)
            opening.cancel()
        try:
            opened.append((await opening, channel))
        except (grpc.aio.AioRpcError, asyncio.CancelledError):
            await channel.close()

    for _ in range(40):
        await asyncio.gather(*(open_one(chance.choice(openers)) for _ in range(chance.randrange(1, 4))))
        chance.shuffle(opened)
        while opened and chance.random() < 0.6:
            await _end(*opened.pop(), chance.randrange(3))
    for stream, channel in opened:
        await _end(stream, channel, chance.randrange(3))

    async with grpc.aio.insecure_channel(address) as channel:
        for opener in (work, produce, subscribe):
            kept: list[Any] = []

            async def all_open(opener: Opened = opener, kept: list[Any] = kept) -> bool:
                with suppress(grpc.aio.AioRpcError):
                    kept.append(await opener(channel))
                return len(kept) == MOST

            await eventually(all_open, 60)
            assert await seconds_told(opener(channel)) == 5


async def test_calls_that_wait_have_a_number_of_their_own(database_url: str) -> None:
    async with (
        running_server(database_url, **COUNTED, waiting_calls_of_address=1) as address,
        grpc.aio.insecure_channel(address) as channel,
    ):
        queue = QueueServiceStub(channel)
        job = EnqueueJobRequest(model_id=1, model_hash="a" * 64, delay=Duration(seconds=3600))
        job_id = (await queue.EnqueueJob(job)).job_id
        request = GetJobRequest(job_id=job_id, wait=Duration(seconds=30))
        waiting = queue.GetJob(request)

        async def one_more_is_refused() -> bool:
            nonlocal waiting
            if waiting.done():  # the other call was there first, and this one was refused, or it has waited long enough
                waiting = queue.GetJob(request)
            try:
                await queue.DequeueJob(DequeueJobRequest(worker_id="w", wait=Duration(nanos=1_000_000)))
            except grpc.aio.AioRpcError as refused:
                return "1 calls that wait" in str(refused.details())
            return False

        await eventually(one_more_is_refused, 60)
        assert (await queue.GetJob(GetJobRequest(job_id=job_id))).job.id == job_id
        waiting.cancel()

        async def there_is_room() -> bool:
            with suppress(grpc.aio.AioRpcError):
                await queue.GetJob(GetJobRequest(job_id=job_id, wait=Duration(nanos=1_000_000)))
                return True
            return False

        await eventually(there_is_room, 60)
