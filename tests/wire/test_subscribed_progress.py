"""Progress for subscribers: those that ask get it in order, from workers of every kind."""

import asyncio
import math

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration

from tests.support.service.server import running_server, status_of
from tests.wire.test_notifications import Subscriber
from tests.wire.test_progress import entry, shows, tells, working
from tests.wire.worker import done, enqueue, state
from thumbq import JobProgress, Notification
from thumbq.v1 import job_pb2, notification_pb2_grpc, queue_pb2

READY = job_pb2.THUMBNAIL_STATUS_READY


async def progress_of(subscriber, *wanted):
    """Read until the subscriber was told all of these (model, fraction); return everything that it was told."""
    told: list[JobProgress] = []
    while not set(wanted) <= {(item.model_id, item.progress) for item in told}:
        message = await subscriber.message()
        assert message.cursor
        assert not (message.progress and message.notifications)
        told += message.progress
    return told


async def test_a_subscriber_is_told_how_far_the_jobs_of_its_models_have_come(queue, notifications):
    worker, (first, second) = await working(queue, 2)
    everything = Subscriber(notifications, progress=True)
    one = Subscriber(notifications, progress=True, model_ids=[second.model_id], statuses=[READY])
    silent = Subscriber(notifications)
    for subscriber in (everything, one, silent):
        beginning = await subscriber.message()
        assert not beginning.progress
    await tells(worker, entry(first, 0.25, "reading"), entry(second, 0.5))
    told = {item.job_id: item for item in await progress_of(everything, (1, 0.25), (2, 0.5))}
    assert (told[first.id].progress_text, told[second.id].progress_text) == ("reading", "")
    assert told[first.id].attempt_count == 1
    assert told[first.id].progress_at.ToNanoseconds() >= first.created_at.ToNanoseconds()
    assert {item.model_id for item in await progress_of(one, (2, 0.5))} == {2}

    # a later one gets the present progress
    late = Subscriber(notifications, progress=True)
    await progress_of(late, (1, 0.25), (2, 0.5))

    await worker.reports(1, done(first), done(second))
    for subscriber in (everything, one, late, silent):
        news: list[Notification] = []
        while not news:
            news = (await subscriber.message()).notifications
        assert news[-1].status == READY
    # nothing came in between to a subscriber that had not asked
    assert silent.progress == 0


async def test_the_progress_of_ended_attempts_is_not_told(queue, notifications):
    worker, (ended, running) = await working(queue, 2)
    await tells(worker, entry(ended, 0.5), entry(running, 0.5))
    await shows(queue, ended.id, 0.5)
    await worker.reports(1, done(ended))
    await worker.receives("result_acks")
    subscriber = Subscriber(notifications, progress=True)
    assert {item.job_id for item in await progress_of(subscriber, (2, 0.5))} == {running.id}


async def test_servers_tell_of_each_others_workers(queue, database_url):
    worker, (job,) = await working(queue)
    async with running_server(database_url) as other, grpc.aio.insecure_channel(other) as channel:
        subscriber = Subscriber(notification_pb2_grpc.NotificationServiceStub(channel), progress=True)
        for fraction in (0.25, 0.75):
            await tells(worker, entry(job, fraction))
            await progress_of(subscriber, (1, fraction))


async def test_many_jobs_are_told_in_bounded_messages(queue, notifications):
    worker, jobs = await working(queue, 2_500)
    subscriber = Subscriber(notifications, progress=True)
    await tells(worker, *(entry(job, 0.5) for job in jobs))
    told = 0
    while told < len(jobs):
        message = await subscriber.message()
        assert len(message.progress) <= 1_000
        told += len(message.progress)


async def test_the_stream_ends_with_its_server(database_url):
    async with running_server(database_url) as address:
        channel = grpc.aio.insecure_channel(address)
        subscriber = Subscriber(notification_pb2_grpc.NotificationServiceStub(channel), progress=True)
        await subscriber.message()
    async with asyncio.timeout(30):
        assert await subscriber.call.read() is grpc.aio.EOF
        assert await subscriber.call.code() == grpc.StatusCode.OK
    await channel.close()


class UnaryWorker:
    """Claims one job without a stream."""

    def __init__(self, queue):
        self.queue = queue

    async def claims(self, model_id=1):
        await enqueue(self.queue, model_id)
        request = queue_pb2.DequeueJobRequest(worker_id="w1", wait=Duration(seconds=30))
        return (await self.queue.DequeueJob(request)).job

    async def tells(self, job, fraction, **fields):
        request = queue_pb2.ReportProgressRequest(job_id=job.id, progress=fraction, **fields)
        return (await self.queue.ReportProgress(request)).lease_expires_at


@pytest.mark.parametrize("names_lease", [True, False])
async def test_a_worker_without_a_stream_tells_it_too_and_keeps_its_job(queue, notifications, names_lease):
    worker = UnaryWorker(queue)
    job = await worker.claims()
    subscriber = Subscriber(notifications, progress=True)
    fields = {"lease_token": job.lease_token} if names_lease else {}
    ends = await worker.tells(job, 0.4, progress_text="meshing", **fields)
    (told,) = await progress_of(subscriber, (1, 0.4))
    assert told.progress_text == "meshing"
    shown = await state(queue, job.id)
    assert (shown.progress, shown.progress_text) == (0.4, "meshing")
    assert shown.lease_expires_at == ends
    # a dequeued job has a minute at first, and ten of them after a sign of life
    assert ends.ToNanoseconds() - job.lease_expires_at.ToNanoseconds() > 300e9


async def test_progress_never_shortens_a_lease(queue):
    worker = UnaryWorker(queue)
    job = await worker.claims()
    hour = Duration(seconds=3600)
    extended = await queue.ExtendLease(queue_pb2.ExtendLeaseRequest(job_id=job.id, duration=hour))
    assert await worker.tells(job, 0.5) == extended.lease_expires_at


async def test_progress_of_a_streams_job_leaves_its_lease_to_the_heartbeats(queue):
    _, (job,) = await working(queue)
    before = (await state(queue, job.id)).lease_expires_at
    assert await UnaryWorker(queue).tells(job, 0.5, lease_token=job.lease_token) == before


async def test_odd_progress_of_a_worker_without_a_stream_is_mended(queue):
    worker = UnaryWorker(queue)
    job = await worker.claims()
    await worker.tells(job, 1.5, progress_text="12\u202f000\nfaces")
    assert (await shows(queue, job.id, 1)).progress_text == "12 000 faces"


async def test_progress_without_a_lease_is_refused(queue):
    worker = UnaryWorker(queue)
    job = await worker.claims()
    wrong = [
        ({"job_id": job.id}, "INVALID_ARGUMENT", "progress is required"),
        ({"job_id": job.id, "progress": math.nan}, "INVALID_ARGUMENT", "progress must be a number from 0 to 1"),
        ({"job_id": job.id + 1, "progress": 0.5}, "NOT_FOUND", None),
    ]
    for fields, code, text in wrong:
        refused_with, why = await status_of(queue.ReportProgress(queue_pb2.ReportProgressRequest(**fields)))
        assert refused_with.name == code
        assert text is None or why == text
    await queue.FailJob(queue_pb2.FailJobRequest(job_id=job.id, error_message="no"))
    for token in ("", job.lease_token):
        late = queue_pb2.ReportProgressRequest(job_id=job.id, progress=0.5, lease_token=token)
        assert (await status_of(queue.ReportProgress(late)))[0] is grpc.StatusCode.FAILED_PRECONDITION
