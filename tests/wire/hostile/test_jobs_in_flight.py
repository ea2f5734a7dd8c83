"""A caller that keeps its jobs gets no more of them, and the jobs of others wait for others."""

from typing import Any

import grpc

from tests.support.service.server import running_server
from tests.support.waiting import eventually
from tests.wire.hostile.test_rates import COUNTED, job, seconds_told
from thumbq.v1.job_pb2 import Result
from thumbq.v1.queue_pb2 import (
    CallTogetherRequest,
    DequeueJobRequest,
    DequeueJobsRequest,
    ReportResultsRequest,
    StreamJobsRequest,
)
from thumbq.v1.queue_pb2_grpc import QueueServiceStub

HELLO = StreamJobsRequest(hello=StreamJobsRequest.Hello(worker_id="hoarder"))
CREDIT = StreamJobsRequest(credit=StreamJobsRequest.Credit(add=10))


async def test_all_ways_to_get_jobs_share_one_bound_and_a_release_makes_room(database_url: str) -> None:
    async with (
        running_server(database_url, **COUNTED, jobs_in_flight_of_address=3) as address,
        grpc.aio.insecure_channel(address) as channel,
    ):
        queue = QueueServiceStub(channel)
        for model_id in range(1, 7):
            await queue.EnqueueJob(job(model_id))
        (kept,) = (await queue.DequeueJobs(DequeueJobsRequest(worker_id="js-1", max_jobs=1))).jobs
        stream: Any = queue.StreamJobs()
        await stream.write(HELLO)
        await stream.write(CREDIT)
        tokens: list[str] = []
        while len(tokens) < 2:
            tokens += [given.lease_token for given in (await stream.read()).jobs.jobs]
        assert len(tokens) == 2

        assert await seconds_told(queue.DequeueJob(DequeueJobRequest(worker_id="js-1"))) == 5
        together = CallTogetherRequest(
            calls=[CallTogetherRequest.Call(dequeue_job=DequeueJobRequest(worker_id="js-1"))]
        )
        (answer,) = (await queue.CallTogether(together)).answers
        assert "3 jobs in flight, as many as it may have (THUMBQ_JOBS_IN_FLIGHT_OF_ADDRESS)" in answer.error.message
        assert answer.error.retry_after.seconds == 5

        release = Result(lease_token=kept.lease_token, release=Result.Release())
        await queue.ReportResults(ReportResultsRequest(results=[release]))

        async def the_stream_gets_one() -> bool:
            tokens.extend(given.lease_token for given in (await stream.read()).jobs.jobs)
            return len(tokens) == 3

        await eventually(the_stream_gets_one)
        stream.cancel()
