"""Jobs and successes as columns: what they share with plain messages, and what is refused."""

import grpc
import pytest

from tests.support.waiting import eventually
from tests.wire.worker import HASH, PICTURE, Worker, done, enqueue, jobs_in_columns, state
from thumbq.v1 import job_pb2, queue_pb2

Stream = queue_pb2.StreamJobsRequest
Columns = queue_pb2.CompletedColumns


@pytest.fixture
async def worker(queue):
    """A worker with columns that has said Hello."""
    worker = Worker(queue, columns=True)
    await worker.hello()
    return worker


def success(job, **changed):
    """Return the columns of one success, some of them changed."""
    columns = {
        "lease": job.lease_token.partition("-")[2],
        "job_ids": [job.id],
        "thumbnail_paths": [PICTURE.thumbnail_path],
        "sizes_bytes": [PICTURE.size_bytes],
        "widths": [PICTURE.width],
        "heights": [PICTURE.height],
    }
    return Columns(**{**columns, **changed})


async def claimed(queue, worker, *model_ids):
    await enqueue(queue, *model_ids)
    await worker.wants(len(model_ids))
    return (await worker.receives("jobs")).jobs


async def answer_to(worker, *completed, results=()):
    await worker.send(results=Stream.Results(number=7, results=results, completed=completed))
    acks = await worker.receives("result_acks")
    assert acks.number == 7
    return acks.exceptions


async def test_a_job_in_columns_is_the_job_that_a_message_would_be(queue):
    requests = [
        queue_pb2.NewJob(model_id=1, model_hash=HASH, priority=5),
        queue_pb2.NewJob(model_id=2, model_hash=HASH[::-1], max_attempts=7),
    ]
    await queue.EnqueueJobs(queue_pb2.EnqueueJobsRequest(jobs=requests))
    jobs = {}
    for columns in (True, False):
        worker = Worker(queue, columns=columns)
        await worker.hello("w1")
        await worker.wants(2)
        jobs[columns] = (await worker.receives("jobs")).jobs
        for job in jobs[columns]:
            await queue.ReleaseJob(queue_pb2.ReleaseJobRequest(job_id=job.id))
        await worker.call.done_writing()
        await worker.ends()
    for job in (*jobs[True], *jobs[False]):
        for of_this_claim in ("lease_token", "lease_expires_at", "updated_at"):
            assert job.HasField(of_this_claim) if of_this_claim != "lease_token" else job.lease_token
            job.ClearField(of_this_claim)
    assert list(jobs[True]) == list(jobs[False])
    assert [(job.model_id, job.priority, job.max_attempts) for job in jobs[True]] == [(1, 5, 3), (2, 0, 7)]


async def test_what_all_jobs_have_in_common_is_sent_once(queue, worker):
    await enqueue(queue, *range(1, 6))
    await worker.wants(5)
    message = await worker.call.read()
    columns = message.jobs.columns
    assert len(list(jobs_in_columns(columns))) == 5
    once = (columns.attempt_counts, columns.priorities, columns.max_attempts, columns.created_at)
    assert list(map(len, once)) == [1] * 4


async def test_successes_of_several_claims_go_into_one_message_beside_other_results(queue, worker):
    jobs = [*await claimed(queue, worker, 1, 2), *await claimed(queue, worker, 3, 4)]
    assert len({job.lease_token.partition("-")[2] for job in jobs}) == 2
    failed = job_pb2.Result(
        lease_token=jobs[3].lease_token, fail=job_pb2.Result.Fail(error_message="no", retryable=False)
    )
    assert not await answer_to(worker, *map(success, jobs[:3]), results=[failed])
    states = [(await state(queue, job.id)).status for job in jobs]
    assert states == [job_pb2.JOB_STATUS_COMPLETED] * 3 + [job_pb2.JOB_STATUS_FAILED]


async def test_a_success_that_is_sent_twice_is_answered_as_done_already(queue, worker):
    (job,) = await claimed(queue, worker, 1)
    assert not await answer_to(worker, success(job))
    (exception,) = await answer_to(worker, success(job))
    assert (exception.lease_token, exception.code) == (job.lease_token, queue_pb2.RESULT_CODE_ALREADY_DONE)
    job_twice = await claimed(queue, worker, 2)
    exceptions = await answer_to(worker, success(job_twice[0]), success(job_twice[0]))
    assert [exception.code for exception in exceptions] == [queue_pb2.RESULT_CODE_ALREADY_DONE]


async def test_the_lease_of_another_job_or_history_or_claim_is_stale_and_changes_nothing(queue, worker):
    (job,) = await claimed(queue, worker, 1)
    lease = job.lease_token.partition("-")[2]
    number, _, history = lease.partition("-")
    wrong = [f"{int(number) + 1}-{history}", f"{number}-another"]
    exceptions = await answer_to(worker, *(success(job, lease=text) for text in wrong), success(job, job_ids=[999]))
    assert {(exception.lease_token, exception.code) for exception in exceptions} == {
        (token, queue_pb2.RESULT_CODE_STALE) for token in (*(f"{job.id}-{text}" for text in wrong), f"999-{lease}")
    }
    assert (await state(queue, job.id)).status == job_pb2.JOB_STATUS_PROCESSING
    assert not await answer_to(worker, success(job))


@pytest.mark.parametrize(
    "malformed",
    [
        {"thumbnail_paths": ["relative.png"]},
        {"thumbnail_paths": [""]},
        {"thumbnail_paths": ["/" + "x" * 500]},
        {"sizes_bytes": [-1]},
        {"widths": [0]},
        {"heights": [-(2**31)]},
        {"job_ids": [-1]},
        {"job_ids": [0]},
        {"lease": ""},
        {"lease": "nonsense"},
        {"lease": "-1"},
        {"lease": "x" * 5000},
    ],
    ids=str,
)
async def test_a_malformed_success_gets_its_exception_and_its_neighbours_are_taken(queue, worker, malformed):
    first, second = await claimed(queue, worker, 1, 2)
    (exception,) = await answer_to(worker, success(first, **malformed), success(second))
    assert exception.code == queue_pb2.RESULT_CODE_INVALID
    assert len(exception.lease_token) <= 100
    assert (await state(queue, first.id)).status == job_pb2.JOB_STATUS_PROCESSING
    assert (await state(queue, second.id)).status == job_pb2.JOB_STATUS_COMPLETED


@pytest.mark.parametrize("column", ["job_ids", "thumbnail_paths", "sizes_bytes", "widths", "heights"])
async def test_columns_of_different_lengths_end_the_stream_and_nothing_is_taken(queue, worker, column):
    first, second = await claimed(queue, worker, 1, 2)
    await worker.received(1)
    await worker.send(results=Stream.Results(number=1, completed=[success(first), success(second, **{column: []})]))
    assert await worker.ends() == (
        grpc.StatusCode.INVALID_ARGUMENT,
        "the columns of completed jobs must have one length",
    )
    assert (await state(queue, first.id)).status == job_pb2.JOB_STATUS_PROCESSING


async def test_more_successes_than_a_message_may_have_end_the_stream(queue, worker):
    columns = Columns(
        lease="1-x",
        job_ids=range(1, 5002),
        thumbnail_paths=["/a.png"] * 5001,
        sizes_bytes=[1] * 5001,
        widths=[1] * 5001,
        heights=[1] * 5001,
    )
    await worker.send(results=Stream.Results(number=1, completed=[columns, columns]))
    code, details = await worker.ends()
    assert (code, details) == (
        grpc.StatusCode.INVALID_ARGUMENT,
        "results has 10002 items; at most 10000 are taken at once",
    )


async def test_a_worker_that_did_not_ask_for_columns_may_not_send_them(queue):
    worker = Worker(queue)
    await worker.hello()
    (job,) = await claimed(queue, worker, 1)
    await worker.send(results=Stream.Results(number=1, completed=[success(job)]))
    assert await worker.ends() == (grpc.StatusCode.INVALID_ARGUMENT, "completed needs columns in Hello")


async def test_jobs_of_columns_that_never_arrived_go_back_unspent(queue, worker):
    jobs = await claimed(queue, worker, 1, 2, 3)
    await worker.holds(jobs[0])
    await worker.is_understood()
    worker.call.cancel()

    async def given_back():
        states = [await state(queue, job.id) for job in jobs]
        return [(job.status, job.attempt_count) for job in states] == [
            (job_pb2.JOB_STATUS_PROCESSING, 1),
            (job_pb2.JOB_STATUS_PENDING, 0),
            (job_pb2.JOB_STATUS_PENDING, 0),
        ]

    await eventually(given_back)


async def test_a_result_of_columns_may_go_back_as_a_plain_one_and_through_a_unary_call(queue, worker):
    first, second = await claimed(queue, worker, 1, 2)
    assert not await answer_to(worker, results=[done(first)])
    answer = await queue.ReportResults(queue_pb2.ReportResultsRequest(results=[done(second)]))
    assert not answer.exceptions
