"""A caller that calls too often gets RESOURCE_EXHAUSTED, and RetryInfo says when to come back."""

from collections.abc import AsyncIterator, Awaitable
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2

from tests.support.service.keys import GATEWAY_SECRET, keyed, make_key
from tests.support.service.server import running_server
from thumbq.v1.notification_pb2 import SubscribeRequest
from thumbq.v1.notification_pb2_grpc import NotificationServiceStub
from thumbq.v1.queue_pb2 import (
    CallTogetherRequest,
    DequeueJobRequest,
    DequeueJobsRequest,
    EnqueueJobRequest,
    GetJobRequest,
    ListJobsRequest,
)
from thumbq.v1.queue_pb2_grpc import QueueServiceStub

# One call, and the next after a quarter of an hour.
SELDOM = 0.001
# So the tests, which call from this machine, count as strangers.
COUNTED = {"gateways": "192.0.2.1"}


@pytest.fixture
async def channel(database_url: str, request: Any) -> AsyncIterator[grpc.aio.Channel]:
    async with (
        running_server(database_url, **COUNTED | request.param) as address,
        grpc.aio.insecure_channel(address) as opened,
    ):
        yield opened


def limits(**settings: Any) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("channel", [settings], indirect=True, ids=[""])


async def seconds_told(call: Awaitable[Any]) -> float:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await call
    assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED, refused.value.details()
    trailers = dict(refused.value.trailing_metadata() or ())
    status = status_pb2.Status.FromString(trailers["grpc-status-details-bin"])
    info = error_details_pb2.RetryInfo()
    assert status.details[0].Unpack(info)
    return info.retry_delay.ToTimedelta().total_seconds()


def job(model_id: int) -> EnqueueJobRequest:
    return EnqueueJobRequest(model_id=model_id, model_hash="a" * 64)


@limits(rate_of_worker_polls=SELDOM)
async def test_a_worker_that_asks_too_often_without_a_job_is_told_when_to_return(channel: grpc.aio.Channel) -> None:
    queue = QueueServiceStub(channel)
    await queue.EnqueueJob(job(1))
    for worker in ("worker-001", "worker-002"):
        await queue.DequeueJob(DequeueJobRequest(worker_id=worker))  # with a job, or in vain
    await queue.DequeueJob(DequeueJobRequest(worker_id="worker-001"))
    for worker in ("worker-001", "worker-002"):
        assert 1 <= await seconds_told(queue.DequeueJobs(DequeueJobsRequest(worker_id=worker))) <= 60


@limits(rate_of_polls=SELDOM)
async def test_calls_together_count_one_by_one(channel: grpc.aio.Channel) -> None:
    queue = QueueServiceStub(channel)
    poll = CallTogetherRequest.Call(dequeue_job=DequeueJobRequest(worker_id="worker-001"))
    assert await seconds_told(queue.CallTogether(CallTogetherRequest(calls=[poll, poll])))
    await queue.EnqueueJob(job(1))
    answers = (await queue.CallTogether(CallTogetherRequest(calls=[poll]))).answers
    assert answers[0].dequeue_job.job.model_id == 1
    await queue.CallTogether(CallTogetherRequest(calls=[poll]))
    assert await seconds_told(queue.CallTogether(CallTogetherRequest(calls=[poll])))


@limits(rate_of_enqueues=SELDOM, rate_of_reads=SELDOM)
async def test_reads_and_enqueues_are_counted_apart(channel: grpc.aio.Channel) -> None:
    queue = QueueServiceStub(channel)
    answer = await queue.EnqueueJob(job(1))
    await queue.GetJob(GetJobRequest(job_id=answer.job_id))
    assert await seconds_told(queue.EnqueueJob(job(2)))
    assert await seconds_told(queue.ListJobs(ListJobsRequest()))


@limits(streams_of_address=1)
async def test_an_address_has_no_more_streams_than_it_may_have(channel: grpc.aio.Channel) -> None:
    notifications, queue = NotificationServiceStub(channel), QueueServiceStub(channel)
    first = notifications.Subscribe(SubscribeRequest())
    await first.initial_metadata()
    await first.read()
    second = notifications.Subscribe(SubscribeRequest())
    assert await seconds_told(second.read())
    stream = queue.StreamJobs()
    assert await seconds_told(stream.read())
    first.cancel()


@pytest.mark.parametrize("channel", [COUNTED | {"gateways": "127.0.0.1", "rate_of_reads": SELDOM}], indirect=True)
async def test_a_gateway_is_not_counted(channel: grpc.aio.Channel) -> None:
    queue = QueueServiceStub(channel)
    for _ in range(20):
        await queue.ListJobs(ListJobsRequest())


async def test_every_key_has_a_rate_of_its_own_and_a_gateway_has_none(database_url: str) -> None:
    poll = DequeueJobRequest(worker_id="worker-001")
    settings = COUNTED | {"rate_of_polls": SELDOM, "gateway_secret": GATEWAY_SECRET}
    async with running_server(database_url, **settings) as server:
        async with grpc.aio.insecure_channel(server) as strangers:
            admin = await make_key(strangers, "admin")
        async with keyed(server, admin) as admins:
            keys = [await make_key(admins, "worker") for _ in range(2)]
        for key in keys:
            async with keyed(server, key) as workers:
                await QueueServiceStub(workers).DequeueJob(poll)
                assert await seconds_told(QueueServiceStub(workers).DequeueJob(poll))
        async with keyed(server, GATEWAY_SECRET) as gateway:
            for _ in range(5):
                await QueueServiceStub(gateway).DequeueJob(poll)
