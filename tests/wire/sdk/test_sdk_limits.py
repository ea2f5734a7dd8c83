"""The SDK comes back when the server allows it."""

import asyncio
from contextlib import AsyncExitStack

import pytest

from tests.support.service.server import running_server
from tests.support.waiting import eventually
from tests.wire.sdk.sdk import HASH, PICTURE, enqueue, working
from thumbq import Job, NewJob, Producer, Subscriber, Thumbnail, Unavailable
from thumbq.v1.job_pb2 import JobStatus

# So the tests, which call from this machine, count as strangers.
COUNTED = {"gateways": "192.0.2.1"}
JOBS = [NewJob(model_id=number, model_hash=HASH) for number in range(1, 7)]


async def complete(_job: Job) -> Thumbnail:
    return PICTURE


async def test_a_producer_that_is_refused_repeats_its_call_when_it_may(database_url: str) -> None:
    async with (
        running_server(database_url, **COUNTED, rate_of_enqueues=0.4) as server,
        Producer(server, timeout=60) as producer,
    ):
        assert len({(await producer.enqueue([job]))[0].job_id for job in JOBS}) == 6


async def test_a_producer_on_a_stream_is_read_no_faster_than_its_rate(database_url: str) -> None:
    async with (
        running_server(database_url, **COUNTED, rate_of_enqueues=0.4) as server,
        Producer(server, timeout=60) as producer,
    ):
        assert len({(await producer.enqueue_one(job)).job_id for job in JOBS}) == 6


async def test_a_producer_without_the_time_to_wait_learns_when_it_may_return(database_url: str) -> None:
    async with (
        running_server(database_url, **COUNTED, rate_of_enqueues=0.001) as server,
        Producer(server, timeout=30) as producer,
    ):
        await producer.enqueue(JOBS[:1])
        with pytest.raises(Unavailable, match="Try again after 60 s") as refused:
            await producer.enqueue(JOBS[1:])
    assert refused.value.retryable
    assert refused.value.retry_after == 60


async def test_a_worker_that_finds_no_room_for_its_stream_waits_for_it(
    database_url: str, capfd: pytest.CaptureFixture[str]
) -> None:
    said: list[str] = []

    async def refused() -> bool:
        said.extend(capfd.readouterr())  # of the server, which runs in this process
        return "call.refused" in "".join(said)

    async with running_server(database_url, **COUNTED, streams_of_address=1) as server:
        (job_id,) = await enqueue(server, 1)
        async with AsyncExitStack() as stack:
            async with Subscriber(server, after="earliest") as subscriber:
                events = aiter(subscriber)
                await anext(events)
                await stack.enter_async_context(working(server, complete))
                await eventually(refused, 60)
            async with Producer(server) as producer:
                ended = await producer.get(job_id, wait=120)
    assert ended.status == JobStatus.JOB_STATUS_COMPLETED


async def test_whoever_finds_no_room_for_a_stream_waits_until_another_ends(
    database_url: str, capfd: pytest.CaptureFixture[str]
) -> None:
    said: list[str] = []

    async def refused() -> bool:
        said.extend(capfd.readouterr())
        return all(kind in "".join(said) for kind in ("kind=subscriptions", "kind=enqueue_streams"))

    bounds = {"subscriptions_of_address": 1, "enqueue_streams_of_address": 1}
    async with running_server(database_url, **COUNTED, **bounds) as server, AsyncExitStack() as stack:
        late_page = await stack.enter_async_context(Subscriber(server, after="earliest"))
        late_producer = await stack.enter_async_context(Producer(server, timeout=120))
        async with Subscriber(server, after="earliest") as page, Producer(server) as producer:
            first = await producer.enqueue_one(JOBS[0])
            events = aiter(page)
            await anext(events)
            event = asyncio.ensure_future(anext(aiter(late_page)))
            answer = asyncio.ensure_future(late_producer.enqueue_one(JOBS[0]))
            await eventually(refused, 60)
            assert not event.done()
            assert not answer.done()
        assert await event
        assert (await answer).job_id == first.job_id
