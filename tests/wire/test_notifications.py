"""Subscribing over a real channel."""

import asyncio
import hashlib

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration

from tests.support.service.server import running_server, status_of
from thumbq.v1 import job_pb2, notification_pb2, notification_pb2_grpc, queue_pb2, queue_pb2_grpc
from thumbq_server.storage.postgres.database import Database

HASH = hashlib.sha256(b"model").hexdigest()
PENDING, READY, FAILED = (
    job_pb2.THUMBNAIL_STATUS_PENDING,
    job_pb2.THUMBNAIL_STATUS_READY,
    job_pb2.THUMBNAIL_STATUS_FAILED,
)


async def render(queue, model_id, error=None):
    """Take one job through its life."""
    await queue.EnqueueJob(queue_pb2.EnqueueJobRequest(model_id=model_id, model_hash=HASH))
    job = (await queue.DequeueJob(queue_pb2.DequeueJobRequest(worker_id="w1", wait=Duration(seconds=30)))).job
    if error:
        await queue.FailJob(queue_pb2.FailJobRequest(job_id=job.id, error_message=error))
    else:
        await queue.CompleteJob(
            queue_pb2.CompleteJobRequest(job_id=job.id, thumbnail_path="/a", size_bytes=1, width=1, height=1)
        )


class Subscriber:
    """Reads a subscription by hand."""

    def __init__(self, notifications, **request):
        self.call = notifications.Subscribe(notification_pb2.SubscribeRequest(**request))
        self.cursor = ""
        self.resets = 0
        self.progress = 0

    async def message(self):
        message = await asyncio.wait_for(self.call.read(), 30)
        assert message is not grpc.aio.EOF
        self.cursor = message.cursor
        self.resets += message.reset
        self.progress += len(message.progress)
        return message

    async def next(self, count):
        """Return the next `count` notifications."""
        news: list[notification_pb2.Notification] = []
        while len(news) < count:
            news += (await self.message()).notifications
        assert len(news) == count
        return news


async def present_cursor(notifications):
    return (await notifications.GetNotificationCursor(notification_pb2.GetNotificationCursorRequest())).cursor


def seen(news):
    return [(notification.model_id, notification.status) for notification in news]


async def test_a_subscriber_sees_a_job_become_ready(queue, notifications):
    subscriber = Subscriber(notifications)
    await subscriber.message()
    await render(queue, 42)
    pending, ready = await subscriber.next(2)
    assert seen([pending, ready]) == [(42, PENDING), (42, READY)]
    assert ready.thumbnail_url == "/models/42/thumbnail/file"
    assert (ready.attempt_count, ready.will_retry) == (1, False)
    assert not pending.HasField("thumbnail_url")


async def test_a_failed_attempt_says_why_and_when_it_is_tried_again(queue, notifications):
    subscriber = Subscriber(notifications)
    await subscriber.message()
    await render(queue, 42, error="no such texture")
    _, failed = await subscriber.next(2)
    assert (failed.status, failed.error_message, failed.will_retry) == (FAILED, "no such texture", True)
    assert failed.next_attempt_at.ToDatetime() > failed.timestamp.ToDatetime()


async def test_the_past_is_replayed_from_a_cursor_and_continues_live(queue, notifications):
    await render(queue, 1)
    cursor = await present_cursor(notifications)
    await render(queue, 2)
    subscriber = Subscriber(notifications, after=cursor)
    assert seen(await subscriber.next(2)) == [(2, PENDING), (2, READY)]
    await render(queue, 3)
    assert seen(await subscriber.next(2)) == [(3, PENDING), (3, READY)]

    everything = Subscriber(notifications, after="earliest")
    assert [model_id for model_id, _ in seen(await everything.next(6))] == [1, 1, 2, 2, 3, 3]
    assert everything.cursor == subscriber.cursor
    assert everything.resets == subscriber.resets == 0


async def test_a_filter_lets_through_its_models_only_and_the_cursor_still_moves(queue, notifications):
    subscriber = Subscriber(notifications, model_ids=[2])
    start = (await subscriber.message()).cursor
    await render(queue, 1)
    while subscriber.cursor == start:
        assert not (await subscriber.message()).notifications
    await render(queue, 2)
    assert seen(await subscriber.next(2)) == [(2, PENDING), (2, READY)]


@pytest.mark.parametrize(
    ("after", "reason"),
    [
        ("otherepoch-1", "RESET_REASON_OTHER_LOG"),
        ("nonsense", "RESET_REASON_MALFORMED"),
        ("{epoch}", "RESET_REASON_MALFORMED"),
        ("-1", "RESET_REASON_MALFORMED"),
        ("{epoch}-99", "RESET_REASON_FUTURE"),
        ("{epoch}--1", "RESET_REASON_OTHER_LOG"),
    ],
)
async def test_an_impossible_cursor_is_answered_with_one_reset(queue, notifications, after, reason):
    await render(queue, 1)
    now = await present_cursor(notifications)
    subscriber = Subscriber(notifications, after=after.format(epoch=now.partition("-")[0]))
    first = await subscriber.message()
    assert (first.reset, first.cursor) == (True, now)
    assert notification_pb2.ResetReason.Name(first.reset_reason) == reason
    await render(queue, 2)
    assert seen(await subscriber.next(2)) == [(2, PENDING), (2, READY)]
    assert subscriber.resets == 1


async def test_a_cursor_older_than_the_log_is_answered_with_one_reset(queue, notifications, database_url):
    start = await present_cursor(notifications)
    await render(queue, 1)
    oldest = await present_cursor(notifications)
    await render(queue, 2)
    async with Database(database_url) as database:
        await database.fetch("DELETE FROM notifications WHERE seq_last <= $1", int(oldest.partition("-")[2]))
    now = await present_cursor(notifications)
    subscriber = Subscriber(notifications, after=start)
    first = await subscriber.message()
    assert (first.reset, first.cursor) == (True, now)
    assert first.reset_reason == notification_pb2.RESET_REASON_TOO_OLD
    await render(queue, 3)
    assert seen(await subscriber.next(2)) == [(3, PENDING), (3, READY)]
    assert subscriber.resets == 1

    in_time = Subscriber(notifications, after=oldest)
    assert seen(await in_time.next(4)) == [(2, PENDING), (2, READY), (3, PENDING), (3, READY)]
    assert in_time.resets == 0


async def test_a_filter_by_status_lets_through_these_only_and_the_cursor_still_moves(queue, notifications):
    subscriber = Subscriber(notifications, statuses=[READY, FAILED], model_ids=[1, 2])
    start = (await subscriber.message()).cursor
    await queue.EnqueueJob(queue_pb2.EnqueueJobRequest(model_id=9, model_hash=HASH, delay=Duration(seconds=600)))
    while subscriber.cursor == start:
        assert not (await subscriber.message()).notifications
    await render(queue, 1)
    await render(queue, 3)
    await render(queue, 2, error="no")
    assert seen(await subscriber.next(2)) == [(1, READY), (2, FAILED)]


@pytest.mark.changes_nothing
@pytest.mark.parametrize("status", [0, 99])
async def test_an_unknown_status_is_refused(notifications, status):
    subscription = notifications.Subscribe(notification_pb2.SubscribeRequest(statuses=[status]))
    code, _ = await status_of(subscription.read())
    assert code == grpc.StatusCode.INVALID_ARGUMENT


async def test_a_page_that_loads_and_then_subscribes_misses_nothing(queue, notifications):
    """A loaded thumbnail is never older than the cursor that comes with it, however much happens meanwhile."""
    rendering = True
    loaded: list[tuple[int, int]] = []

    async def render_again_and_again():
        nonlocal rendering
        for size in range(1, 31):
            await queue.EnqueueJob(queue_pb2.EnqueueJobRequest(model_id=42, model_hash=HASH, force=True))
            job = (await queue.DequeueJob(queue_pb2.DequeueJobRequest(worker_id="w", wait=Duration(seconds=30)))).job
            request = queue_pb2.CompleteJobRequest(
                job_id=job.id, thumbnail_path="/a", size_bytes=size, width=1, height=1
            )
            await queue.CompleteJob(request)
        rendering = False

    async def load():
        while rendering:
            thumbnail = (await notifications.GetThumbnail(notification_pb2.GetThumbnailRequest(model_id=42))).thumbnail
            loaded.append((int(thumbnail.cursor.partition("-")[2]), thumbnail.size_bytes))

    await asyncio.gather(render_again_and_again(), *[load() for _ in range(4)])
    everything = Subscriber(notifications, after="earliest", statuses=[READY])
    ready_seqs = [int(news.cursor.partition("-")[2]) for news in await everything.next(30)]
    for seq, size in loaded:
        assert size >= sum(ready <= seq for ready in ready_seqs)


async def test_a_list_of_jobs_comes_with_the_cursor_to_follow_it_from(queue, notifications):
    assert (await queue.ListJobs(queue_pb2.ListJobsRequest())).cursor == await present_cursor(notifications)
    await render(queue, 1)
    page = await queue.ListJobs(queue_pb2.ListJobsRequest())
    await render(queue, 2)
    subscriber = Subscriber(notifications, after=page.cursor)
    assert seen(await subscriber.next(2)) == [(2, PENDING), (2, READY)]


async def test_notifications_of_another_server_arrive_too(database_url):
    async with (
        running_server(database_url) as first,
        running_server(database_url) as second,
        grpc.aio.insecure_channel(first) as channel,
        grpc.aio.insecure_channel(second) as other_channel,
    ):
        subscriber = Subscriber(notification_pb2_grpc.NotificationServiceStub(other_channel))
        await subscriber.message()
        await render(queue_pb2_grpc.QueueServiceStub(channel), 42)
        assert seen(await subscriber.next(2)) == [(42, PENDING), (42, READY)]


async def test_a_test_notification_is_marked_as_one(notifications):
    subscriber = Subscriber(notifications)
    await subscriber.message()
    await notifications.PublishTestNotification(
        notification_pb2.PublishTestNotificationRequest(model_id=1, status=READY, thumbnail_url="/x")
    )
    (news,) = await subscriber.next(1)
    assert (news.model_id, news.status, news.thumbnail_url, news.test) == (1, READY, "/x", True)


async def test_a_test_notification_needs_a_status(notifications):
    request = notification_pb2.PublishTestNotificationRequest(model_id=1)
    code, _ = await status_of(notifications.PublishTestNotification(request))
    assert code == grpc.StatusCode.INVALID_ARGUMENT


async def test_the_queue_is_watched_in_snapshots(queue, notifications):
    call = notifications.WatchQueue(notification_pb2.WatchQueueRequest())
    assert (await call.read()).snapshot.pending == 0
    await queue.EnqueueJob(queue_pb2.EnqueueJobRequest(model_id=42, model_hash=HASH))
    assert (await call.read()).snapshot.pending == 1
    job = (await queue.DequeueJob(queue_pb2.DequeueJobRequest(worker_id="w1"))).job
    snapshot = (await call.read()).snapshot
    assert (snapshot.pending, snapshot.processing) == (0, 1)
    assert [(at_work.model_id, at_work.job_id, at_work.worker_id) for at_work in snapshot.rendering] == [
        (42, job.id, "w1")
    ]
    call.cancel()


async def test_the_thumbnail_of_a_model_follows_its_job(queue, notifications):
    async def status():
        request = notification_pb2.GetThumbnailRequest(model_id=42)
        return (await notifications.GetThumbnail(request)).thumbnail.status

    assert await status() == job_pb2.THUMBNAIL_STATUS_NONE
    await queue.EnqueueJob(queue_pb2.EnqueueJobRequest(model_id=42, model_hash=HASH))
    assert await status() == PENDING
    await queue.DequeueJob(queue_pb2.DequeueJobRequest(worker_id="w1"))
    assert await status() == job_pb2.THUMBNAIL_STATUS_PROCESSING
    await queue.FailJob(queue_pb2.FailJobRequest(job_id=1, error_message="no"))
    assert await status() == FAILED


async def test_the_thumbnails_of_many_models_come_in_the_order_of_the_question(queue, notifications):
    await render(queue, 1)
    await queue.EnqueueJob(queue_pb2.EnqueueJobRequest(model_id=2, model_hash=HASH))
    request = notification_pb2.GetThumbnailsRequest(model_ids=[2, 3, 1, 2])
    response = await notifications.GetThumbnails(request)
    shown = [(thumbnail.model_id, thumbnail.status) for thumbnail in response.thumbnails]
    assert shown == [(2, PENDING), (3, job_pb2.THUMBNAIL_STATUS_NONE), (1, READY), (2, PENDING)]
    one = (await notifications.GetThumbnail(notification_pb2.GetThumbnailRequest(model_id=1))).thumbnail
    assert response.cursor == one.cursor == await present_cursor(notifications)
    one.cursor = ""
    assert response.thumbnails[2] == one


@pytest.mark.changes_nothing
@pytest.mark.parametrize("model_ids", [[], range(1, 1002)], ids=["none", "too many"])
async def test_the_thumbnails_of_no_model_or_of_too_many_are_refused(notifications, model_ids):
    with pytest.raises(grpc.aio.AioRpcError, match="modelIds") as refusal:
        await notifications.GetThumbnails(notification_pb2.GetThumbnailsRequest(model_ids=model_ids))
    assert refusal.value.code() is grpc.StatusCode.INVALID_ARGUMENT
