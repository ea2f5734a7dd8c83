"""An operator cancels and retries."""

import asyncio
import hashlib

import asyncpg
import grpc
from google.protobuf.duration_pb2 import Duration

from tests.support.service.server import running_server, status_of
from tests.support.waiting import eventually
from tests.wire.worker import Worker, done
from thumbq.v1 import admin_pb2, admin_pb2_grpc, job_pb2, notification_pb2, queue_pb2, queue_pb2_grpc

HASH = hashlib.sha256(b"model").hexdigest()


async def enqueue(queue, model_id=42, text=b"model"):
    digest = hashlib.sha256(text).hexdigest()
    return (await queue.EnqueueJob(queue_pb2.EnqueueJobRequest(model_id=model_id, model_hash=digest))).job_id


async def cancel(admin, job_id):
    return (await admin.CancelJob(admin_pb2.CancelJobRequest(job_id=job_id))).job


async def retry(admin, job_id):
    return (await admin.RetryJob(admin_pb2.RetryJobRequest(job_id=job_id))).job


async def dequeue(queue, **fields):
    response = await queue.DequeueJob(queue_pb2.DequeueJobRequest(worker_id="w1", **fields))
    return response.job if response.HasField("job") else None


async def test_the_workers_that_are_connected_are_listed_with_their_jobs(admin, queue):
    assert not (await admin.ListWorkers(admin_pb2.ListWorkersRequest())).workers
    await enqueue(queue)
    worker = Worker(queue)
    welcome = await worker.hello("on-a-stream")
    await worker.wants(1)
    await worker.receives("jobs")
    await dequeue(queue)
    listed = (await admin.ListWorkers(admin_pb2.ListWorkersRequest())).workers
    assert sorted((info.worker_id, info.session_id, info.in_flight) for info in listed) == [
        ("on-a-stream", welcome.session_id, 1),
        ("w1", "", 0),
    ]
    assert all(info.last_seen_at.seconds >= info.first_seen_at.seconds > 0 for info in listed)


async def test_a_worker_that_is_not_heard_of_is_marked_as_gone(admin, queue, database_url):
    await dequeue(queue)
    connection = await asyncpg.connect(database_url)

    async def is_gone():
        # The server may write the sign of life of the call above a moment later.
        await connection.execute("UPDATE workers SET last_seen_at = last_seen_at - interval '1 minute'")
        (info,) = (await admin.ListWorkers(admin_pb2.ListWorkersRequest())).workers
        return info.gone

    await eventually(is_gone)
    await connection.close()


async def test_a_pending_job_is_cancelled_and_never_handed_out(queue, admin):
    job_id = await enqueue(queue)
    assert (await cancel(admin, job_id)).status == job_pb2.JOB_STATUS_CANCELLED
    assert await dequeue(queue) is None
    assert (await cancel(admin, job_id)).status == job_pb2.JOB_STATUS_CANCELLED  # twice is fine


async def test_the_worker_of_a_cancelled_job_learns_it_at_once_and_its_result_is_refused(queue, admin):
    worker = Worker(queue)
    await enqueue(queue)
    await worker.hello()
    await worker.wants(1)
    (job,) = (await worker.receives("jobs")).jobs
    await cancel(admin, job.id)
    lost = await worker.receives("lease_lost")
    assert (list(lost.lease_tokens), lost.reason) == ([job.lease_token], job_pb2.LEASE_LOST_REASON_CANCELLED)
    await worker.reports(1, done(job))
    assert [problem.code for problem in (await worker.receives("result_acks")).exceptions] == [
        queue_pb2.RESULT_CODE_STALE
    ]


async def test_a_worker_on_another_server_learns_of_a_cancellation_too(database_url):
    async with (
        running_server(database_url) as first,
        running_server(database_url) as second,
        grpc.aio.insecure_channel(first) as channel,
        grpc.aio.insecure_channel(second) as other_channel,
    ):
        worker = Worker(queue_pb2_grpc.QueueServiceStub(channel))
        await worker.hello()
        await worker.wants(1)
        job_id = await enqueue(queue_pb2_grpc.QueueServiceStub(other_channel))
        (job,) = (await worker.receives("jobs")).jobs
        await cancel(admin_pb2_grpc.AdminServiceStub(other_channel), job_id)
        assert list((await worker.receives("lease_lost")).lease_tokens) == [job.lease_token]


async def test_a_session_that_resumes_on_another_server_closes_its_older_stream(database_url):
    async with (
        running_server(database_url) as first,
        running_server(database_url) as second,
        grpc.aio.insecure_channel(first) as channel,
        grpc.aio.insecure_channel(second) as other_channel,
    ):
        queue = queue_pb2_grpc.QueueServiceStub(channel)
        older, newer = Worker(queue), Worker(queue_pb2_grpc.QueueServiceStub(other_channel))
        await enqueue(queue)
        welcome = await older.hello()
        await older.wants(1)
        (job,) = (await older.receives("jobs")).jobs
        await older.received(1)
        await older.reports(1)
        await older.receives("result_acks")
        resumed = await newer.hello(session_id=welcome.session_id)
        assert list(resumed.resumed_lease_tokens) == [job.lease_token]
        assert (await older.ends())[0] == grpc.StatusCode.ABORTED
        await newer.reports(1, done(job))
        assert not (await newer.receives("result_acks")).exceptions


async def test_an_ended_job_cannot_be_cancelled(queue, admin):
    job_id = await enqueue(queue)
    job = await dequeue(queue)
    await queue.CompleteJob(
        queue_pb2.CompleteJobRequest(job_id=job.id, thumbnail_path="/a", size_bytes=1, width=1, height=1)
    )
    assert await status_of(cancel(admin, job_id)) == (grpc.StatusCode.FAILED_PRECONDITION, "Job has ended already.")
    assert (await status_of(cancel(admin, 999)))[0] == grpc.StatusCode.NOT_FOUND


async def test_all_jobs_of_a_model_are_cancelled_and_no_other(queue, admin):
    mine = [await enqueue(queue, 42, b"first"), await enqueue(queue, 42, b"second")]
    other = await enqueue(queue, 43)
    answer = await admin.CancelModelJobs(admin_pb2.CancelModelJobsRequest(model_id=42))
    assert sorted(answer.job_ids) == mine
    assert (await dequeue(queue)).id == other


async def test_a_cancelled_job_is_announced_with_the_present_status_of_its_model(queue, admin, notifications):
    job_id = await enqueue(queue)
    call = notifications.Subscribe(notification_pb2.SubscribeRequest())
    await call.read()
    await cancel(admin, job_id)
    (news,) = (await asyncio.wait_for(call.read(), 30)).notifications
    assert (news.job_id, news.status) == (job_id, job_pb2.THUMBNAIL_STATUS_NONE)


async def test_a_dead_job_is_retried_with_new_attempts_under_its_id(queue, admin):
    job_id = await enqueue(queue)
    job = await dequeue(queue)
    await queue.FailJob(queue_pb2.FailJobRequest(job_id=job.id, error_message="no", retryable=False))
    assert (await queue.GetJob(queue_pb2.GetJobRequest(job_id=job_id))).job.status == job_pb2.JOB_STATUS_FAILED
    retried = await retry(admin, job_id)
    assert (retried.id, retried.status, retried.attempt_count) == (job_id, job_pb2.JOB_STATUS_PENDING, 0)
    assert (await dequeue(queue, wait=Duration(seconds=30))).attempt_count == 1


async def test_a_job_that_waits_for_its_retry_runs_at_once_when_an_operator_retries_it(queue, admin):
    job_id = await enqueue(queue)
    job = await dequeue(queue)
    later = Duration(seconds=3600)
    await queue.FailJob(queue_pb2.FailJobRequest(job_id=job.id, error_message="no", retry_delay=later))
    assert await dequeue(queue) is None
    await retry(admin, job_id)
    assert (await dequeue(queue, wait=Duration(seconds=30))).id == job_id


async def test_a_processing_job_is_not_retried(queue, admin):
    job_id = await enqueue(queue)
    await dequeue(queue)
    assert (await status_of(retry(admin, job_id)))[0] == grpc.StatusCode.FAILED_PRECONDITION


async def test_a_stream_is_asked_to_go_at_its_age(database_url):
    async with (
        running_server(database_url, stream_max_age=0.2) as address,
        grpc.aio.insecure_channel(address) as channel,
    ):
        worker = Worker(queue_pb2_grpc.QueueServiceStub(channel))
        await worker.hello()
        await worker.receives("drain")
        await worker.call.done_writing()
        assert (await worker.ends())[0] == grpc.StatusCode.OK


async def test_many_jobs_are_cancelled_in_one_call_and_their_workers_learn_it(queue, admin):
    worker = Worker(queue)
    await worker.hello()
    await worker.wants(1)
    held = await enqueue(queue, 1)
    [job] = (await worker.receives("jobs")).jobs
    waiting = await enqueue(queue, 2)
    ended = (await cancel(admin, await enqueue(queue, 77))).id
    answer = await admin.CancelJobs(admin_pb2.CancelJobsRequest(job_ids=[held, waiting, ended, 999, held]))
    assert list(answer.job_ids) == [held, waiting]
    assert list((await worker.receives("lease_lost")).lease_tokens) == [job.lease_token]
    await worker.reports(1, done(job))
    await worker.receives("result_acks")
    assert (await admin.GetStats(admin_pb2.GetStatsRequest())).completed == 0
