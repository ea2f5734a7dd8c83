"""An operator pauses the queue, and finds out what is wrong with it."""

import asyncio
import hashlib
from importlib.metadata import version

import asyncpg
import grpc
from google.protobuf.duration_pb2 import Duration

from tests.support.service.server import running_server, status_of
from tests.wire.operator.test_admin import dequeue, enqueue
from tests.wire.worker import Worker, done
from thumbq.v1 import admin_pb2, admin_pb2_grpc, job_pb2, queue_pb2, queue_pb2_grpc

FAILED, COMPLETED = admin_pb2.ATTEMPT_OUTCOME_FAILED, admin_pb2.ATTEMPT_OUTCOME_COMPLETED


async def pause(admin, paused_by="ada", reason="a disk is full"):
    return (await admin.PauseQueue(admin_pb2.PauseQueueRequest(paused_by=paused_by, reason=reason))).pause


async def resume(admin):
    return await admin.ResumeQueue(admin_pb2.ResumeQueueRequest())


async def stats(admin):
    return await admin.GetStats(admin_pb2.GetStatsRequest())


async def workers(admin):
    return list((await admin.ListWorkers(admin_pb2.ListWorkersRequest())).workers)


async def why(admin, job_id):
    return await admin.ExplainJob(admin_pb2.ExplainJobRequest(job_id=job_id))


async def history(admin, job_id):
    return list((await admin.GetJobHistory(admin_pb2.GetJobHistoryRequest(job_id=job_id))).attempts)


async def fail(queue, job, error_message="broken model", **fields):
    request = queue_pb2.FailJobRequest(
        job_id=job.id, lease_token=job.lease_token, error_message=error_message, **fields
    )
    await queue.FailJob(request)


async def complete(queue, job):
    await queue.CompleteJob(
        queue_pb2.CompleteJobRequest(
            job_id=job.id, lease_token=job.lease_token, thumbnail_path="/t/a.png", size_bytes=1, width=1, height=1
        )
    )


async def test_a_paused_queue_hands_out_nothing_until_it_is_resumed(queue, admin):
    assert (await pause(admin)).reason == "a disk is full"
    job_id = await enqueue(queue)
    assert await dequeue(queue) is None
    assert (await resume(admin)).pause.paused_by == "ada"
    assert (await dequeue(queue)).id == job_id
    assert not (await resume(admin)).HasField("pause")


async def test_a_worker_that_waits_gets_no_job_of_a_paused_queue_and_gets_it_when_the_queue_resumes(queue, admin):
    worker = Worker(queue)
    await worker.hello()
    await worker.wants(1)
    await worker.is_understood()
    await pause(admin)
    job_id = await enqueue(queue)  # else it would be claimed with the enqueue
    await worker.is_understood()
    assert (await why(admin, job_id)).job.status == job_pb2.JOB_STATUS_PENDING
    await resume(admin)
    assert [job.id for job in (await worker.receives("jobs")).jobs] == [job_id]


async def test_jobs_that_are_being_processed_end_while_the_queue_is_paused(queue, admin):
    await enqueue(queue)
    job = await dequeue(queue)
    await pause(admin)
    await complete(queue, job)
    assert (await stats(admin)).completed == 1


async def test_a_pause_holds_on_every_server_and_after_a_restart(database_url, channel, queue, admin):
    async with running_server(database_url) as other, grpc.aio.insecure_channel(other) as other_channel:
        other_queue = queue_pb2_grpc.QueueServiceStub(other_channel)
        await pause(admin)
        job_id = await enqueue(other_queue)
        assert await dequeue(other_queue) is None
    async with running_server(database_url) as again, grpc.aio.insecure_channel(again) as new_channel:
        waiting = asyncio.create_task(dequeue(queue_pb2_grpc.QueueServiceStub(new_channel), wait=Duration(seconds=30)))
        assert (await stats(admin_pb2_grpc.AdminServiceStub(new_channel))).pause.paused_by == "ada"
        await resume(admin)  # of the first server
        assert (await waiting).id == job_id


async def test_statistics_count_jobs_by_status_and_tell_rates_and_durations(queue, admin):
    for model_id in range(1, 6):
        await enqueue(queue, model_id)
    await complete(queue, await dequeue(queue))
    await fail(queue, await dequeue(queue), retryable=False)
    await dequeue(queue)
    await admin.CancelModelJobs(admin_pb2.CancelModelJobsRequest(model_id=5))
    found = await stats(admin)
    assert (found.pending, found.processing, found.completed, found.failed, found.cancelled) == (1, 1, 1, 1, 1)
    assert not found.paused
    assert found.oldest_pending_age.ToTimedelta().total_seconds() > 0
    assert found.workers == 1
    ended = [(minute.completed, minute.failed, minute.cancelled, minute.expired) for minute in found.minutes]
    assert [sum(ends) for ends in zip(*ended, strict=True)] == [1, 1, 1, 0]
    assert found.wait_time.samples == found.processing_time.samples == 1
    assert found.wait_time.p50.ToTimedelta().total_seconds() > 0
    assert found.processing_time.p99.ToTimedelta().total_seconds() > 0


async def test_statistics_of_an_empty_queue_are_empty(admin):
    assert await stats(admin) == admin_pb2.GetStatsResponse(server_version=version("thumbq"))


async def test_workers_are_listed_with_what_they_said_of_themselves_and_their_jobs(queue, admin):
    worker = Worker(queue)
    hello = queue_pb2.StreamJobsRequest.Hello(worker_id="render-1", version="2.0", labels={"gpu": "none"})
    await worker.send(hello=hello)
    await worker.receives("welcome")
    await worker.wants(1)
    await enqueue(queue)
    await worker.receives("jobs")
    [found] = await workers(admin)
    assert (found.worker_id, found.version, dict(found.labels)) == ("render-1", "2.0", {"gpu": "none"})
    assert (found.in_flight, found.gone) == (1, False)


async def test_the_next_server_tells_what_workers_completed_and_failed_at_the_one_that_stopped(database_url):
    async with running_server(database_url) as server, grpc.aio.insecure_channel(server) as channel:
        queue = queue_pb2_grpc.QueueServiceStub(channel)
        streaming = Worker(queue)
        await streaming.hello("render-1")
        await streaming.wants(2)
        await enqueue(queue, 1)
        [job] = (await streaming.receives("jobs")).jobs
        await streaming.reports(1, done(job))
        await streaming.receives("result_acks")
        streaming.call.cancel()
        await enqueue(queue, 2)
        unary = await dequeue(queue)
        await fail(queue, unary, retry_delay=Duration())
        again = await dequeue(queue, wait=Duration(seconds=30))
        await complete(queue, again)
        await complete(queue, again)
    async with running_server(database_url) as server, grpc.aio.insecure_channel(server) as channel:
        listed = await workers(admin_pb2_grpc.AdminServiceStub(channel))
    assert {found.worker_id: (found.completed, found.failed) for found in listed} == {"render-1": (1, 0), "w1": (1, 1)}
    assert all(found.completed_per_minute > 0 for found in listed)


async def test_the_history_of_a_job_has_every_attempt(queue, admin):
    job_id = await enqueue(queue)
    await fail(queue, await dequeue(queue), "first try", retry_delay=Duration())
    await complete(queue, await dequeue(queue, wait=Duration(seconds=30)))
    first, second = await history(admin, job_id)
    assert (first.outcome, first.worker_id, first.error_message) == (FAILED, "w1", "first try")
    assert (second.outcome, second.attempt, second.error_message) == (COMPLETED, 2, "")
    assert first.claimed_at.ToDatetime() <= first.ended_at.ToDatetime() <= second.claimed_at.ToDatetime()
    assert first.HasField("next_attempt_at")
    assert not second.HasField("next_attempt_at")
    assert (await status_of(history(admin, 999)))[0] == grpc.StatusCode.NOT_FOUND


async def test_a_worker_that_renders_for_minutes_without_a_word_is_one_that_a_job_waits_for(queue, admin, database_url):
    await enqueue(queue, 1)
    await dequeue(queue)
    waiting = await enqueue(queue, 2)
    connection = await asyncpg.connect(database_url)
    await connection.execute("UPDATE workers SET last_seen_at = last_seen_at - interval '2 minutes'")
    await connection.close()
    assert (await why(admin, waiting)).reason == admin_pb2.WAIT_REASON_WORKERS_FULL
    assert (await stats(admin)).workers == 1
    assert [worker.gone for worker in await workers(admin)] == [False]


async def test_a_job_says_why_it_waits(queue, admin):
    first = await enqueue(queue, 1)
    last = await enqueue(queue, 2)
    delayed = queue_pb2.EnqueueJobRequest(
        model_id=3, model_hash=hashlib.sha256(b"model").hexdigest(), delay=Duration(seconds=600)
    )
    later = (await queue.EnqueueJob(delayed)).job_id
    assert (await why(admin, later)).reason == admin_pb2.WAIT_REASON_NOT_DUE
    assert (await why(admin, last)).sentence == "It is due, but no worker is connected."
    assert (await why(admin, last)).reason == admin_pb2.WAIT_REASON_NO_WORKER
    await pause(admin)
    paused = await why(admin, last)
    assert paused.reason == admin_pb2.WAIT_REASON_PAUSED
    assert "paused by ada" in paused.sentence
    assert paused.sentence.endswith("(a disk is full).")
    await resume(admin)
    assert (await dequeue(queue)).id == first
    third = await enqueue(queue, 4)
    full = await why(admin, third)
    assert (full.reason, full.ahead, full.workers) == (admin_pb2.WAIT_REASON_WORKERS_FULL, 1, 1)
    assert full.sentence == "It is due, and waits for a free slot of a worker that takes Models; 1 job is ahead of it."
    sound = queue_pb2.EnqueueJobRequest(model_id=5, model_hash=hashlib.sha256(b"model").hexdigest(), kind="Sound")
    other = await why(admin, (await queue.EnqueueJob(sound)).job_id)
    assert other.sentence.startswith("It is due, and waits for a free slot of a worker that takes Sound; ")
    assert (await why(admin, first)).sentence.startswith("Worker w1 is at work on it (attempt 1 of 3)")
    assert (await status_of(why(admin, 999)))[0] == grpc.StatusCode.NOT_FOUND


async def test_who_and_why_are_bounded_and_printable(admin):
    assert (await status_of(pause(admin, paused_by="x" * 201)))[0] == grpc.StatusCode.INVALID_ARGUMENT
    refusal = "reason has a character that is not printable (U+001B)"
    assert await status_of(pause(admin, reason="\x1b[2J")) == (grpc.StatusCode.INVALID_ARGUMENT, refusal)
    people = "Zoé\u00a0Ü \U0001f469\u200d\U0001f680"  # a no-break space, and an emoji with a joiner
    assert (await pause(admin, paused_by=people, reason=people)).reason == people
