"""A full queue refuses what adds work, in every way to enqueue; producers learn how full it is, and slow down by it."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
from typer.testing import CliRunner

from tests.support.network.http_client import Client, digest
from tests.support.service.gateway import running_gateway
from tests.support.service.server import running_server
from tests.support.waiting import eventually
from tests.wire.hostile.test_rates import seconds_told
from tests.wire.sdk.sdk import PICTURE, working
from thumbq import Job, NewJob, Producer, Thumbnail
from thumbq.cli import app
from thumbq.client import pressure
from thumbq.v1 import queue_pb2
from thumbq.v1.admin_pb2 import GetStatsRequest
from thumbq.v1.admin_pb2_grpc import AdminServiceStub
from thumbq.v1.queue_pb2_grpc import QueueServiceStub

LIMIT = 4


def job(model_id: int, **fields: Any) -> NewJob:
    return NewJob(model_id=model_id, model_hash=digest(model_id), **fields)


@pytest.fixture
async def address(database_url: str) -> AsyncIterator[str]:
    async with running_server(database_url, queue_limit=LIMIT) as opened:
        yield opened


async def fill(queue: Any) -> list[int]:
    jobs = [job(number) for number in range(1, LIMIT + 1)]
    response = await queue.EnqueueJobs(queue_pb2.EnqueueJobsRequest(jobs=jobs))
    assert response.pressure == 1.0
    return [each.job_id for each in response.jobs]


def single(message: NewJob) -> queue_pb2.EnqueueJobRequest:
    return queue_pb2.EnqueueJobRequest.FromString(message.SerializeToString())


async def test_a_full_queue_takes_only_what_adds_no_work(address: str) -> None:
    async with grpc.aio.insecure_channel(address) as channel:
        queue: Any = QueueServiceStub(channel)
        assert (await queue.EnqueueJob(single(job(1)))).pressure == 0.25
        first, second, *_ = await fill(queue)
        with pytest.raises(grpc.aio.AioRpcError, match=r"4 jobs are Pending.*THUMBQ_QUEUE_LIMIT.*after 5 s"):
            await queue.EnqueueJob(single(job(9)))
        assert await seconds_told(queue.EnqueueJobs(queue_pb2.EnqueueJobsRequest(jobs=[job(1), job(9)]))) == 5
        assert (await queue.EnqueueJob(single(job(1)))).job_id == first
        repeated = await queue.EnqueueJobs(queue_pb2.EnqueueJobsRequest(jobs=[job(2), job(1)]))
        assert [each.job_id for each in repeated.jobs] == [second, first]

        stream = queue.EnqueueStream()
        await stream.write(queue_pb2.EnqueueStreamRequest(number=1, jobs=[job(9), job(2), job(0)]))
        answer = await stream.read()
        assert list(answer.job_ids) == [0, second, 0]
        assert answer.pressure == 1.0
        refused, wrong = sorted(answer.exceptions, key=lambda exception: exception.place)
        assert (refused.place, refused.code, refused.retry_after.seconds) == (0, 8, 5)
        assert (wrong.place, wrong.code, wrong.retry_after.seconds) == (2, 3, 0)
        assert (await queue.ListJobs(queue_pb2.ListJobsRequest(model_id=9))).jobs == []
        stream.cancel()

        found = await AdminServiceStub(channel).GetStats(GetStatsRequest())
        assert (found.pending, found.queue_limit, found.pressure) == (LIMIT, LIMIT, 1.0)
    shown = await asyncio.to_thread(CliRunner().invoke, app, ["stats", "--server", address])
    assert "4, 100% of the limit of 4" in shown.output


async def test_work_that_ended_may_not_start_again_while_the_queue_is_full(address: str) -> None:
    async with grpc.aio.insecure_channel(address) as channel:
        queue: Any = QueueServiceStub(channel)
        await queue.EnqueueJob(single(job(7)))
        claimed = (await queue.DequeueJob(queue_pb2.DequeueJobRequest(worker_id="worker-001"))).job
        assert claimed.model_id == 7
        await queue.FailJob(queue_pb2.FailJobRequest(job_id=claimed.id, error_message="no faces", retryable=False))

        await fill_one_by_one(queue)
        assert await seconds_told(queue.EnqueueJob(single(job(7)))) == 5


async def fill_one_by_one(queue: Any) -> None:
    async def is_filled() -> bool:
        for number in range(1, LIMIT + 1):
            try:
                await queue.EnqueueJob(single(job(number)))
            except grpc.aio.AioRpcError:
                return False  # the count of a moment ago still has the job that was claimed
        return True

    await eventually(is_filled)


async def test_a_full_queue_refuses_the_one_of_two_requests_for_a_job_that_adds_work(address: str) -> None:
    async with grpc.aio.insecure_channel(address) as channel:
        queue: Any = QueueServiceStub(channel)
        job_id = (await queue.EnqueueJob(single(job(7)))).job_id
        await queue.DequeueJob(queue_pb2.DequeueJobRequest(worker_id="worker-001"))
        completion = queue_pb2.CompleteJobRequest(
            job_id=job_id, thumbnail_path="/a.webp", size_bytes=1, width=1, height=1
        )
        await queue.CompleteJob(completion)
        await fill_one_by_one(queue)
        stream = queue.EnqueueStream()
        await stream.write(queue_pb2.EnqueueStreamRequest(number=1, jobs=[job(7, force=True), job(7)]))
        answer = await stream.read()
        assert list(answer.job_ids) == [0, job_id]
        assert [(refused.place, refused.code) for refused in answer.exceptions] == [(0, 8)]
        stream.cancel()


async def test_json_callers_are_answered_429_and_told_when_to_return(address: str) -> None:
    async with running_gateway(address) as http:
        client = Client(http)
        jobs = [{"modelId": number, "modelHash": digest(number)} for number in range(1, LIMIT + 2)]
        answer = await client.post("/api/thumbnail-jobs", {"jobs": jobs[:LIMIT]})
        assert answer.json["pressure"] == 1
        for body in (jobs[LIMIT], {"jobs": jobs}):
            answer = await client.post("/api/thumbnail-jobs", body)
            assert (answer.status, answer.headers["Retry-After"]) == (429, "5"), answer.text
            assert "The queue is full" in answer.text
        answer = await client.post("/api/thumbnail-jobs", jobs[0])
        assert (answer.status, answer.json["pressure"]) == (200, 1)


async def test_producers_go_on_as_soon_as_there_is_room(address: str) -> None:
    async def complete(_job: Job) -> Thumbnail:
        return PICTURE

    async with Producer(address, timeout=300) as producer:
        await fill(producer._calls.stubs.queue)
        many = asyncio.ensure_future(producer.enqueue([job(number) for number in range(11, 14)]))
        one = asyncio.ensure_future(producer.enqueue_one(job(21)))

        async def is_refused() -> bool:
            return "The queue is full" in producer._stream._broken_by

        await eventually(is_refused, 60)
        assert not many.done()
        assert not one.done()
        async with working(address, complete):
            assert len({each.job_id for each in await many}) == 3
            assert (await one).outcome == queue_pb2.ENQUEUE_OUTCOME_CREATED


async def test_a_producer_slows_down_between_its_calls_too(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pressure, "_LONGEST", 3600.0)
    async with Producer(address) as producer, Producer(address) as other:
        await producer.enqueue([job(number) for number in range(1, LIMIT + 1)])
        again = asyncio.ensure_future(producer.enqueue([job(1)]))
        assert await other.enqueue([job(1)])
        assert not again.done()
        again.cancel()


async def test_a_queue_without_a_limit_says_nothing_of_pressure(database_url: str) -> None:
    async with running_server(database_url) as address, grpc.aio.insecure_channel(address) as channel:
        queue: Any = QueueServiceStub(channel)
        assert not (await queue.EnqueueJob(single(job(1)))).HasField("pressure")
        assert not (await AdminServiceStub(channel).GetStats(GetStatsRequest())).queue_limit
