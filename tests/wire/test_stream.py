"""StreamJobs as a worker sees it: transcripts of one stream."""

import asyncio
import time

import grpc
import pytest

from tests.support.postgres.queue_under_test import QueueUnderTest
from tests.support.service.server import running_server
from tests.support.waiting import eventually
from tests.wire.worker import HASH, PICTURE, Worker, done, enqueue, state
from thumbq.v1 import job_pb2, queue_pb2, queue_pb2_grpc
from thumbq_server.domain.job import Token
from thumbq_server.storage.postgres.database import Database


@pytest.fixture(params=[False, True], ids=["messages", "columns"])
async def worker(queue, request):
    """A worker that has not said Hello yet, with each form of jobs. Async, since a call begins on the running loop."""
    return Worker(queue, columns=request.param)


async def test_jobs_come_against_credits_and_results_are_acknowledged_in_one_message(queue, worker):
    await enqueue(queue, 1, 2, 3)
    welcome = await worker.hello()
    assert welcome.session_id
    assert welcome.lease_duration.seconds == 30
    await worker.wants(2)
    jobs = await worker.receives("jobs")
    assert (jobs.number, [job.model_id for job in jobs.jobs]) == (1, [1, 2])
    await worker.reports(1, *map(done, jobs.jobs))
    acks = await worker.receives("result_acks")
    assert (acks.number, list(acks.exceptions)) == (1, [])
    assert (await state(queue, jobs.jobs[0].id)).status == job_pb2.JOB_STATUS_COMPLETED

    await worker.wants(1)
    jobs = await worker.receives("jobs")
    assert (jobs.number, [job.model_id for job in jobs.jobs]) == (2, [3])


async def test_credits_are_never_exceeded_and_a_result_gives_none_back(queue, worker):
    await enqueue(queue, *range(1, 11))
    await worker.hello()
    await worker.wants(3)
    jobs = (await worker.receives("jobs")).jobs
    assert len(jobs) == 3
    await worker.reports(1, *map(done, jobs))
    await worker.receives("result_acks")
    await worker.wants(1)
    assert len((await worker.receives("jobs")).jobs) == 1


async def test_results_may_bring_the_credit_for_the_next_job(queue, worker):
    await enqueue(queue, 1, 2)
    assert (await worker.hello()).results_with_credit
    await worker.wants(1)
    (job,) = (await worker.receives("jobs")).jobs
    await worker.send(results=queue_pb2.StreamJobsRequest.Results(number=1, results=[done(job)], credit=1))
    # the acknowledgement and the next job, in the order of their commits
    assert {(await worker.any()).WhichOneof("message") for _ in range(2)} == {"result_acks", "jobs"}
    assert (await state(queue, job.id)).status == job_pb2.JOB_STATUS_COMPLETED


async def test_a_waiting_worker_gets_a_new_job_at_once(queue, worker):
    await worker.hello()
    await worker.wants(5)
    (enqueued,) = await enqueue(queue, 7)
    jobs = (await worker.receives("jobs")).jobs
    assert [job.id for job in jobs] == [enqueued.job_id]


async def test_every_kind_of_trouble_with_a_result_has_its_code(queue, worker):
    await enqueue(queue, 1, 2)
    await worker.hello()
    await worker.wants(2)
    first, second = (await worker.receives("jobs")).jobs
    await worker.reports(1, done(first))
    await worker.receives("result_acks")
    stale = job_pb2.Result(lease_token=f"{second.id}-99", complete=PICTURE)
    invalid = job_pb2.Result(lease_token=second.lease_token, fail=job_pb2.Result.Fail(error_message=" "))
    await worker.reports(2, done(first), stale, invalid)
    acks = await worker.receives("result_acks")
    assert acks.number == 2
    assert {exception.lease_token: (exception.code, exception.job_id) for exception in acks.exceptions} == {
        first.lease_token: (queue_pb2.RESULT_CODE_ALREADY_DONE, first.id),
        stale.lease_token: (queue_pb2.RESULT_CODE_STALE, 0),  # it names no history of the database
        invalid.lease_token: (queue_pb2.RESULT_CODE_INVALID, second.id),
    }
    assert (await state(queue, second.id)).status == job_pb2.JOB_STATUS_PROCESSING


async def test_a_heartbeat_extends_the_short_lease_of_a_delivery(queue, worker):
    await enqueue(queue, 1)
    await worker.hello()
    await worker.wants(1)
    (job,) = (await worker.receives("jobs")).jobs
    short = job.lease_expires_at.ToDatetime()
    await worker.holds(job)

    async def extended():
        return (await state(queue, job.id)).lease_expires_at.ToDatetime() > short

    await eventually(extended)


async def test_a_heartbeat_for_a_lease_that_is_gone_is_answered_with_lease_lost(queue, worker):
    await enqueue(queue, 1)
    await worker.hello()
    await worker.wants(1)
    (job,) = (await worker.receives("jobs")).jobs
    await queue.ReleaseJob(queue_pb2.ReleaseJobRequest(job_id=job.id))
    await worker.holds(job)
    lost = await worker.receives("lease_lost")
    assert list(lost.lease_tokens) == [job.lease_token]


async def test_a_broken_stream_gives_back_unspent_the_jobs_that_never_arrived(queue, worker):
    await enqueue(queue, 1, 2)
    await worker.hello()
    await worker.wants(1)
    (received,) = (await worker.receives("jobs")).jobs
    await worker.received(1)
    await worker.wants(1)
    (unreceived,) = (await worker.receives("jobs")).jobs
    worker.call.cancel()

    async def given_back():
        return (await state(queue, unreceived.id)).status == job_pb2.JOB_STATUS_PENDING

    await eventually(given_back)
    assert (await state(queue, unreceived.id)).attempt_count == 0
    assert (await state(queue, received.id)).status == job_pb2.JOB_STATUS_PROCESSING


async def test_a_job_that_never_arrives_at_the_same_worker_costs_an_attempt_and_ends_as_a_dead_letter(queue):
    request = queue_pb2.EnqueueJobRequest(model_id=1, model_hash=HASH, max_attempts=1)
    job_id = (await queue.EnqueueJob(request)).job_id
    for _ in range(3):
        worker = Worker(queue)
        await worker.hello("hangs")
        await worker.wants(1)
        await worker.receives("jobs")
        worker.call.cancel()

        async def came_back():
            return (await state(queue, job_id)).status != job_pb2.JOB_STATUS_PROCESSING

        await eventually(came_back)
    job = await state(queue, job_id)
    assert (job.status, job.attempt_count) == (job_pb2.JOB_STATUS_FAILED, 1)
    assert job.error_message.startswith("Worker hangs was sent the job 3 times and never confirmed it")


async def test_a_session_resumes_its_leases_and_closes_its_older_stream(queue, worker):
    await enqueue(queue, 1)
    welcome = await worker.hello()
    await worker.wants(1)
    (job,) = (await worker.receives("jobs")).jobs
    await worker.received(1)
    await worker.reports(1)
    await worker.receives("result_acks")  # so Received arrived, too

    newer = Worker(queue)
    resumed = await newer.hello(session_id=welcome.session_id)
    assert list(resumed.resumed_lease_tokens) == [job.lease_token]
    code, details = await worker.ends()
    assert (code, details) == (grpc.StatusCode.ABORTED, "a newer stream of this session has taken over")
    await newer.reports(1, done(job))
    assert not (await newer.receives("result_acks")).exceptions


async def test_a_draining_worker_gets_nothing_more_and_the_stream_ends_when_all_is_reported(queue, worker):
    await enqueue(queue, 1, 2)
    await worker.hello()
    await worker.wants(1)
    (job,) = (await worker.receives("jobs")).jobs
    await worker.send(drain=queue_pb2.StreamJobsRequest.Drain())
    await worker.wants(1)
    await worker.reports(1, done(job))
    await worker.receives("result_acks")
    assert (await worker.ends())[0] == grpc.StatusCode.OK
    listed = await queue.ListJobs(queue_pb2.ListJobsRequest(status=job_pb2.JOB_STATUS_PENDING))
    assert [job.model_id for job in listed.jobs] == [2]


async def test_free_workers_share_what_there_is(queue):
    workers = [Worker(queue) for _ in range(4)]
    for number, worker in enumerate(workers):
        await worker.hello(f"w{number}")
        await worker.wants(100)
        await worker.is_understood()
    # a claim that found nothing is over when this is answered
    assert not (await queue.DequeueJob(queue_pb2.DequeueJobRequest(worker_id="js-1"))).HasField("job")
    await enqueue(queue, *range(1, 41))
    shares = [len((await worker.receives("jobs")).jobs) for worker in workers]
    assert shares == [10, 10, 10, 10]


@pytest.mark.changes_nothing
@pytest.mark.parametrize(
    ("message", "details"),
    [
        ({"credit": queue_pb2.StreamJobsRequest.Credit(add=1)}, "the stream must begin with Hello"),
        ({"hello": queue_pb2.StreamJobsRequest.Hello(worker_id=" ")}, "WorkerId is required"),
        ({"hello": queue_pb2.StreamJobsRequest.Hello(worker_id="w" * 101)}, "WorkerId is longer than 100 characters"),
    ],
)
async def test_a_stream_that_begins_wrongly_is_refused(worker, message, details):
    await worker.send(**message)
    assert await worker.ends() == (grpc.StatusCode.INVALID_ARGUMENT, details)


@pytest.mark.changes_nothing
@pytest.mark.parametrize(
    "message",
    [
        {"hello": queue_pb2.StreamJobsRequest.Hello(worker_id="w1")},
        {"credit": queue_pb2.StreamJobsRequest.Credit(add=-1)},
        {"credit": queue_pb2.StreamJobsRequest.Credit(add=10_001)},
        {"results": queue_pb2.StreamJobsRequest.Results(credit=-1)},
        {"results": queue_pb2.StreamJobsRequest.Results(credit=10_001)},
        {},
    ],
)
async def test_a_stream_that_goes_on_wrongly_is_ended(worker, message):
    await worker.hello()
    await worker.send(**message)
    assert (await worker.ends())[0] == grpc.StatusCode.INVALID_ARGUMENT


@pytest.fixture
async def watched_worker(database_url):
    """A worker of a server that is to hear it every second."""
    # Hello has the same three heartbeats to arrive: a shorter interval would race a busy machine.
    async with (
        running_server(database_url, heartbeat_interval=1) as address,
        grpc.aio.insecure_channel(address) as channel,
    ):
        worker = Worker(queue_pb2_grpc.QueueServiceStub(channel))
        await worker.hello()
        yield worker


async def test_a_silent_worker_is_given_up_after_three_heartbeats(watched_worker):
    assert await watched_worker.ends() == (grpc.StatusCode.DEADLINE_EXCEEDED, "nothing was heard for 3 heartbeats")


async def test_a_worker_that_is_heard_is_kept_for_longer_than_three_heartbeats(watched_worker):
    ends = time.monotonic() + 5
    while time.monotonic() < ends:
        await watched_worker.send(heartbeat=queue_pb2.StreamJobsRequest.Heartbeat(lease_tokens=["1-1"]))
        await watched_worker.receives("lease_lost")
        await asyncio.sleep(0.1)
    assert await watched_worker.ends() == (grpc.StatusCode.DEADLINE_EXCEEDED, "nothing was heard for 3 heartbeats")


async def test_an_expired_lease_goes_to_another_worker_with_the_attempt_spent(queue, worker, database_url):
    await enqueue(queue, 1)
    await worker.hello("dead")
    await worker.wants(1)
    (job,) = (await worker.receives("jobs")).jobs
    await worker.received(1)
    async with Database(database_url) as database:
        another_server = QueueUnderTest(database, database.lane(), 0)
        await another_server.expired(Token(job.id, 1))
        await another_server.make_due(job.id)

    alive = Worker(queue)
    await alive.hello("alive")
    await alive.wants(1)
    (again,) = (await alive.receives("jobs")).jobs
    assert (again.id, again.attempt_count) == (job.id, 2)
    await worker.reports(1, done(job))
    acks = await worker.receives("result_acks")
    assert [exception.code for exception in acks.exceptions] == [queue_pb2.RESULT_CODE_STALE]


async def test_a_server_that_stops_asks_its_workers_to_drain(database_url):
    async with running_server(database_url) as address:
        channel = grpc.aio.insecure_channel(address)
        worker = Worker(queue_pb2_grpc.QueueServiceStub(channel))
        await worker.hello()
        leaving = asyncio.create_task(_drained(worker))
    await leaving
    await channel.close()


async def _drained(worker):
    await worker.receives("drain")
    await worker.call.done_writing()
    return await worker.ends()
