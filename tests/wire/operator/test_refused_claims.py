"""A job that waits because a limit keeps workers from it says so, and names the setting."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import grpc
import pytest

from tests.support.network.http_client import Client
from tests.support.service.gateway import running_gateway
from tests.support.service.server import running_server
from tests.support.waiting import eventually
from tests.wire.hostile.test_jobs_in_flight import CREDIT, HELLO
from tests.wire.hostile.test_rates import COUNTED, SELDOM, job, seconds_told
from thumbq.v1.admin_pb2 import (
    WAIT_REASON_NO_WORKER,
    WAIT_REASON_PAUSED,
    WAIT_REASON_RATE_LIMITED,
    WAIT_REASON_WORKERS_FULL,
    CheckKeysRequest,
    ExplainJobRequest,
    ExplainJobResponse,
    PauseQueueRequest,
)
from thumbq.v1.admin_pb2_grpc import AdminServiceStub
from thumbq.v1.queue_pb2 import DequeueJobRequest
from thumbq.v1.queue_pb2_grpc import QueueServiceStub

POLL = DequeueJobRequest(worker_id="worker-001")
DEQUEUE = "/api/thumbnail-jobs/dequeue"
EAGER = "It is due, but a limit keeps workers away: one worker asks for jobs too often (THUMBQ_RATE_OF_WORKER_POLLS)."


@asynccontextmanager
async def limited(database_url: str, **settings: Any) -> AsyncIterator[grpc.aio.Channel]:
    async with (
        running_server(database_url, **COUNTED | settings) as address,
        grpc.aio.insecure_channel(address) as channel,
    ):
        yield channel


async def why(channel: grpc.aio.Channel, job_id: int) -> ExplainJobResponse:
    answer: ExplainJobResponse = await AdminServiceStub(channel).ExplainJob(ExplainJobRequest(job_id=job_id))
    return answer


async def forget_workers(database_url: str) -> None:
    """Let time pass: no worker was heard of in the last minute."""
    connection = await asyncpg.connect(database_url)
    await connection.execute("UPDATE workers SET last_seen_at = last_seen_at - interval '2 minutes'")
    await connection.close()


@pytest.mark.parametrize("is_alone", [True, False])
async def test_a_worker_that_is_refused_while_a_job_is_due_is_the_reason(database_url: str, is_alone: bool) -> None:
    async with limited(database_url, rate_of_worker_polls=SELDOM) as channel:
        queue = QueueServiceStub(channel)
        await queue.DequeueJob(POLL)
        await seconds_told(queue.DequeueJob(POLL))
        job_id = (await queue.EnqueueJob(job(1))).job_id
        if is_alone:
            await forget_workers(database_url)
        before = WAIT_REASON_NO_WORKER if is_alone else WAIT_REASON_WORKERS_FULL
        assert (await why(channel, job_id)).reason == before, "the job was not there yet"
        await seconds_told(queue.DequeueJob(POLL))
        answer = await why(channel, job_id)
        assert (answer.reason, answer.sentence) == (WAIT_REASON_RATE_LIMITED, EAGER)
        await AdminServiceStub(channel).PauseQueue(PauseQueueRequest())
        assert (await why(channel, job_id)).reason == WAIT_REASON_PAUSED


async def test_a_stream_that_is_refused_is_the_reason(database_url: str) -> None:
    async with limited(database_url, work_streams_of_address=1) as channel:
        queue = QueueServiceStub(channel)
        first: Any = queue.StreamJobs()
        await first.write(HELLO)
        await first.read()
        job_id = (await queue.EnqueueJob(job(1))).job_id
        assert (await why(channel, job_id)).reason == WAIT_REASON_WORKERS_FULL

        async def is_refused() -> bool:
            """A refusal counts for five seconds, as another worker is connected."""
            with pytest.raises(grpc.aio.AioRpcError):
                await queue.StreamJobs().read()
            sentence = (await why(channel, job_id)).sentence
            return "has all the streams of workers that it may have (THUMBQ_WORK_STREAMS_OF_ADDRESS)" in sentence

        await eventually(is_refused)
        first.cancel()


async def test_a_stream_that_has_all_the_jobs_that_it_may_have_is_the_reason_until_one_ends(database_url: str) -> None:
    async with limited(database_url, jobs_in_flight_of_address=1) as channel:
        queue = QueueServiceStub(channel)
        await queue.EnqueueJob(job(1))
        stream: Any = queue.StreamJobs()
        await stream.write(HELLO)
        await stream.write(CREDIT)
        while not (await stream.read()).HasField("jobs"):
            pass
        job_id = (await queue.EnqueueJob(job(2))).job_id

        async def is_kept_back() -> bool:
            answer = await why(channel, job_id)
            return "all the jobs in flight that it may have (THUMBQ_JOBS_IN_FLIGHT_OF_ADDRESS)" in answer.sentence

        await eventually(is_kept_back)
        stream.cancel()


async def test_a_gateway_tells_which_workers_it_refuses(database_url: str) -> None:
    async with (
        running_server(database_url) as address,
        grpc.aio.insecure_channel(address) as channel,
        running_gateway(address, rate_of_worker_polls=SELDOM) as http,
    ):
        client = Client(http)
        assert (await client.post(DEQUEUE, {"workerId": "worker-001"})).status == 204
        job_id = (await QueueServiceStub(channel).EnqueueJob(job(1))).job_id
        assert (await client.post(DEQUEUE, {"workerId": "worker-001"})).status == 429

        async def says_so() -> bool:
            answer = (await client.get(f"/api/thumbnail-jobs/{job_id}/why")).json
            return (answer["reason"], answer["sentence"]) == ("RateLimited", EAGER)

        await eventually(says_so)


async def test_a_limit_that_this_server_does_not_know_is_passed_over(database_url: str) -> None:
    async with running_server(database_url) as address, grpc.aio.insecure_channel(address) as channel:
        job_id = (await QueueServiceStub(channel).EnqueueJob(job(1))).job_id
        told = CheckKeysRequest(refused_claims={"phases_of_the_moon": 5, "enqueues": 5, "polls": 2**31 - 1})
        await AdminServiceStub(channel).CheckKeys(told)
        assert "THUMBQ_RATE_OF_POLLS" in (await why(channel, job_id)).sentence
