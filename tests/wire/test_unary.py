"""The unary verbs, over a real channel."""

import asyncio
import hashlib
from typing import Any

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration

from tests.support.service.server import status_of
from thumbq.v1 import job_pb2, queue_pb2

HASH = hashlib.sha256(b"model").hexdigest()


async def enqueue(queue, model_id=42, **fields):
    return await queue.EnqueueJob(queue_pb2.EnqueueJobRequest(model_id=model_id, model_hash=HASH, **fields))


async def dequeue(queue, worker_id="w1", **fields):
    response = await queue.DequeueJob(queue_pb2.DequeueJobRequest(worker_id=worker_id, **fields))
    return response.job if response.HasField("job") else None


def completion(job, **fields):
    picture = {"thumbnail_path": "/thumbs/a.png", "size_bytes": 1, "width": 2, "height": 3}
    return queue_pb2.CompleteJobRequest(job_id=job.id, **{**picture, "lease_token": job.lease_token, **fields})


async def test_a_job_is_enqueued_claimed_and_completed(queue):
    enqueued = await enqueue(queue)
    assert enqueued.outcome == queue_pb2.ENQUEUE_OUTCOME_CREATED

    job = await dequeue(queue)
    assert (job.id, job.model_id, job.model_hash) == (enqueued.job_id, 42, HASH)
    assert (job.status, job.attempt_count) == (job_pb2.JOB_STATUS_PROCESSING, 1)

    answer = await queue.CompleteJob(completion(job))
    assert (answer.model_id, answer.status) == (42, job_pb2.THUMBNAIL_STATUS_READY)
    assert answer.message == "Thumbnail job completed successfully"
    ended = (await queue.GetJob(queue_pb2.GetJobRequest(job_id=job.id))).job
    assert ended.status == job_pb2.JOB_STATUS_COMPLETED
    assert not ended.lease_token


async def test_completing_twice_with_the_same_token_is_fine(queue):
    await enqueue(queue)
    job = await dequeue(queue)
    await queue.CompleteJob(completion(job))
    assert (await queue.CompleteJob(completion(job))).model_id == 42


async def test_completing_twice_without_a_token_is_refused(queue):
    await enqueue(queue)
    job = await dequeue(queue)
    await queue.CompleteJob(completion(job, lease_token=""))
    refused = await status_of(queue.CompleteJob(completion(job, lease_token="")))
    assert refused == (grpc.StatusCode.FAILED_PRECONDITION, "Job is not in processing state.")


async def test_a_failure_after_a_completion_changes_nothing(queue):
    await enqueue(queue)
    job = await dequeue(queue)
    await queue.CompleteJob(completion(job))
    code, _ = await status_of(queue.FailJob(queue_pb2.FailJobRequest(job_id=job.id, error_message="late")))
    assert code == grpc.StatusCode.FAILED_PRECONDITION
    assert (await queue.GetJob(queue_pb2.GetJobRequest(job_id=job.id))).job.status == job_pb2.JOB_STATUS_COMPLETED


@pytest.mark.parametrize("worker_id", ["", "  \t", "x" * 101, "a\nb"])
async def test_a_bad_worker_id_claims_nothing(queue, worker_id):
    await enqueue(queue)
    code, _ = await status_of(dequeue(queue, worker_id))
    assert code == grpc.StatusCode.INVALID_ARGUMENT
    assert (await dequeue(queue)).model_id == 42


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"thumbnail_path": ""}, "thumbnailPath is required"),
        ({"thumbnail_path": "/a/../b"}, "thumbnailPath must not contain '..'"),
        ({"thumbnail_path": "/a\0b"}, "thumbnailPath contains a NUL character"),
        ({"thumbnail_path": "a/b"}, "thumbnailPath must be absolute"),
        ({"thumbnail_path": "/" + "a" * 500}, "thumbnailPath is longer than 500 characters"),
        ({"size_bytes": -1}, "sizeBytes must not be negative"),
        ({"size_bytes": None}, "sizeBytes is required"),
        ({"width": 0}, "width and height must be 1 or more"),
        ({"height": -5}, "width and height must be 1 or more"),
        ({"lease_token": "nonsense"}, "leaseToken is malformed"),
        ({"lease_token": "999-1-HISTORY"}, "leaseToken belongs to another job"),
    ],
)
async def test_a_malformed_completion_is_refused_and_the_lease_stands(queue, fields, message):
    await enqueue(queue)
    job = await dequeue(queue)
    if "lease_token" in fields:
        history = job.lease_token.rpartition("-")[2]
        fields = {"lease_token": fields["lease_token"].replace("HISTORY", history)}
    assert await status_of(queue.CompleteJob(completion(job, **fields))) == (
        grpc.StatusCode.INVALID_ARGUMENT,
        message,
    )
    await queue.CompleteJob(completion(job))


@pytest.mark.changes_nothing
async def test_an_unknown_job_is_not_found(queue):
    expected = (grpc.StatusCode.NOT_FOUND, "Thumbnail job with ID 999 was not found.")
    unknown = job_pb2.Job(id=999)
    assert await status_of(queue.CompleteJob(completion(unknown))) == expected
    assert await status_of(queue.FailJob(queue_pb2.FailJobRequest(job_id=999, error_message="x"))) == expected
    assert await status_of(queue.GetJob(queue_pb2.GetJobRequest(job_id=999))) == expected
    assert await status_of(queue.ReleaseJob(queue_pb2.ReleaseJobRequest(job_id=999))) == expected
    assert await status_of(queue.ExtendLease(queue_pb2.ExtendLeaseRequest(job_id=999))) == expected


async def test_a_long_error_message_is_stored_cut_and_the_job_is_free_again(queue):
    await enqueue(queue)
    job = await dequeue(queue)
    text = "at render (line 1)\n" * 300
    await queue.FailJob(queue_pb2.FailJobRequest(job_id=job.id, error_message=text, retry_delay=Duration()))
    stored = (await queue.GetJob(queue_pb2.GetJobRequest(job_id=job.id))).job
    assert stored.status == job_pb2.JOB_STATUS_PENDING
    assert len(stored.error_message) == 1000
    assert stored.error_message.endswith("[truncated]")
    assert (await dequeue(queue, wait=Duration(seconds=30))).attempt_count == 2


async def test_a_long_poll_is_answered_when_a_job_arrives(queue):
    waiting = asyncio.create_task(dequeue(queue, wait=Duration(seconds=30)))
    assert await dequeue(queue, "another") is None
    await enqueue(queue)
    assert (await waiting).model_id == 42


async def test_a_long_poll_that_is_given_up_takes_no_job_with_it(queue):
    waiting = asyncio.create_task(dequeue(queue, wait=Duration(seconds=30)))
    assert await dequeue(queue, "another") is None
    waiting.cancel()
    await asyncio.wait([waiting])
    await enqueue(queue)
    job = await dequeue(queue, wait=Duration(seconds=30))
    assert (job.model_id, job.attempt_count) == (42, 1)


async def test_dequeue_jobs_claims_up_to_the_number_asked_for(queue):
    for model_id in range(1, 6):
        await enqueue(queue, model_id)
    request = queue_pb2.DequeueJobsRequest(worker_id="w1", max_jobs=3)
    assert [job.model_id for job in (await queue.DequeueJobs(request)).jobs] == [1, 2, 3]
    assert [job.model_id for job in (await queue.DequeueJobs(request)).jobs] == [4, 5]
    assert not (await queue.DequeueJobs(request)).jobs


@pytest.mark.changes_nothing
async def test_a_malformed_job_refuses_its_whole_batch(queue):
    good = queue_pb2.NewJob(model_id=1, model_hash=HASH)
    bad = queue_pb2.NewJob(model_id=2, model_hash="short")
    code, details = await status_of(queue.EnqueueJobs(queue_pb2.EnqueueJobsRequest(jobs=[good, bad])))
    assert code == grpc.StatusCode.INVALID_ARGUMENT
    assert details == "jobs[1]: modelHash must be a SHA-256 in 64 hexadecimal digits"
    assert await dequeue(queue) is None


async def test_results_of_all_kinds_are_reported_in_one_call(queue):
    for model_id in range(1, 5):
        await enqueue(queue, model_id)
    jobs = (await queue.DequeueJobs(queue_pb2.DequeueJobsRequest(worker_id="w1", max_jobs=4))).jobs
    picture = job_pb2.Result.Complete(thumbnail_path="/a", size_bytes=1, width=1, height=1)
    outcomes: list[dict[str, Any]] = [
        {"complete": picture},
        {"fail": job_pb2.Result.Fail(error_message="no", retryable=False)},
        {"release": job_pb2.Result.Release()},
        {"complete": job_pb2.Result.Complete(thumbnail_path="relative")},
    ]
    results = [
        job_pb2.Result(lease_token=job.lease_token, **outcome) for job, outcome in zip(jobs, outcomes, strict=True)
    ]
    results.append(job_pb2.Result(lease_token="1-77", complete=picture))
    answer = await queue.ReportResults(queue_pb2.ReportResultsRequest(results=results))
    assert {exception.lease_token: exception.code for exception in answer.exceptions} == {
        jobs[3].lease_token: queue_pb2.RESULT_CODE_INVALID,
        "1-77": queue_pb2.RESULT_CODE_STALE,
    }
    listed = (await queue.ListJobs(queue_pb2.ListJobsRequest())).jobs
    assert [job_pb2.JobStatus.Name(job.status) for job in reversed(listed)] == [
        "JOB_STATUS_COMPLETED",
        "JOB_STATUS_FAILED",
        "JOB_STATUS_PENDING",
        "JOB_STATUS_PROCESSING",
    ]


async def test_a_worker_keeps_its_job_however_long_it_says_that_it_has_been_connected(queue):
    await enqueue(queue)
    job = await dequeue(queue, "w1")
    longest = Duration(seconds=315_576_000_000)
    worker = queue_pb2.KeepWorkersRequest.LivingWorker(worker_id="w1", connected_for=longest)
    await queue.KeepWorkers(queue_pb2.KeepWorkersRequest(workers=[worker]))
    kept = (await queue.GetJob(queue_pb2.GetJobRequest(job_id=job.id))).job
    assert kept.lease_expires_at.ToNanoseconds() > job.lease_expires_at.ToNanoseconds()


async def test_pages_lead_through_all_jobs_of_a_status(queue):
    for model_id in range(1, 8):
        await enqueue(queue, model_id)
    seen, token = [], ""
    while True:
        request = queue_pb2.ListJobsRequest(status=job_pb2.JOB_STATUS_PENDING, page_size=3, page_token=token)
        page = await queue.ListJobs(request)
        seen += [job.model_id for job in page.jobs]
        if not (token := page.next_page_token):
            break
    assert seen == [7, 6, 5, 4, 3, 2, 1]


async def test_get_job_with_wait_answers_when_the_job_ends(queue):
    enqueued = await enqueue(queue)
    job = await dequeue(queue)
    request = queue_pb2.GetJobRequest(job_id=enqueued.job_id, wait=Duration(seconds=30))
    waiting = queue.GetJob(request)
    assert await dequeue(queue, "another") is None  # on the same connection, so the other call waits by now
    await queue.CompleteJob(completion(job))
    async with asyncio.timeout(20):  # below the wait, after which it is answered however the job stands
        assert (await waiting).job.status == job_pb2.JOB_STATUS_COMPLETED
