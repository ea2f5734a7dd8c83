"""NotificationService: what pages and other programs learn."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Set
from contextlib import aclosing
from typing import Any
from weakref import WeakKeyDictionary

import grpc
from google.protobuf.timestamp_pb2 import Timestamp

from thumbq.v1 import notification_pb2, notification_pb2_grpc
from thumbq_server.access.door import ORIGIN
from thumbq_server.access.tickets import Tickets
from thumbq_server.domain.access.tickets import check_ticket_life, check_ticket_models
from thumbq_server.domain.progress import JobProgress
from thumbq_server.domain.refusals import Invalid
from thumbq_server.domain.requests import (
    MAX_PAGE,
    check_at_most,
    check_batch,
    check_error_message,
    check_model_id,
    check_thumbnail_url,
)
from thumbq_server.engine.readers.hub import Commit
from thumbq_server.engine.readers.merging import merged
from thumbq_server.engine.readers.progress_feed import ProgressFeed
from thumbq_server.engine.readers.queue_snapshots import QueueSnapshots
from thumbq_server.engine.readers.subscription import Step, Subscriptions
from thumbq_server.engine.readers.views import Views
from thumbq_server.rpc.codec import notifications as codec
from thumbq_server.rpc.codec.times import timedelta_of
from thumbq_server.rpc.errors import refusals_as_status

# Larger messages gain nothing, and would reach the limit of gRPC.
MAX_NOTIFICATIONS = 1000
# Encoded at once.
MAX_ENCODED = 500

Encoded = list[notification_pb2.Notification]


class NotificationService(notification_pb2_grpc.NotificationServiceServicer):
    """Translates; `engine.readers.subscription` has the rules of a subscriber's cursor."""

    def __init__(
        self,
        views: Views,
        subscriptions: Subscriptions,
        snapshots: QueueSnapshots,
        progress: ProgressFeed,
        tickets: Tickets,
    ) -> None:
        self._views = views
        self._subscriptions = subscriptions
        self._snapshots = snapshots
        self._progress = progress
        self._tickets = tickets
        # The first reader encodes a commit for all; it goes when the hub drops the commit.
        self._encoded: WeakKeyDictionary[Commit, Encoded] = WeakKeyDictionary()

    async def Subscribe(
        self, request: notification_pb2.SubscribeRequest, context: Any
    ) -> AsyncIterator[notification_pb2.SubscribeResponse]:
        check_at_most(request.model_ids, "modelIds")
        models, statuses = frozenset(request.model_ids), frozenset(request.statuses)
        if not statuses <= codec.THUMBNAIL_STATUS_OF.keys():
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "statuses must be statuses of thumbnails")
        cursor = ""
        async with aclosing(self._news(request, models)) as all_news:
            async for news in all_news:
                if isinstance(news, list):
                    yield notification_pb2.SubscribeResponse(progress=codec.progress(news), cursor=cursor)
                    continue
                async for notifications in self._pieces(news):
                    wanted = [
                        notification
                        for notification in notifications
                        if (not models or notification.model_id in models)
                        and (not statuses or notification.status in statuses)
                    ]
                    if wanted:
                        cursor = wanted[-1].cursor
                        yield notification_pb2.SubscribeResponse(notifications=wanted, cursor=cursor)
                if news.reset or cursor != str(news.cursor):
                    cursor = str(news.cursor)
                    yield codec.moved(news.cursor, news.reset)

    async def WatchQueue(
        self, request: notification_pb2.WatchQueueRequest, context: Any
    ) -> AsyncIterator[notification_pb2.WatchQueueResponse]:
        async with aclosing(self._snapshots.follow()) as snapshots:
            async for snapshot in snapshots:
                yield notification_pb2.WatchQueueResponse(snapshot=codec.snapshot(snapshot))

    @refusals_as_status
    async def GetNotificationCursor(
        self, request: notification_pb2.GetNotificationCursorRequest, context: Any
    ) -> notification_pb2.GetNotificationCursorResponse:
        return notification_pb2.GetNotificationCursorResponse(cursor=str(await self._views.cursor()))

    @refusals_as_status
    async def PublishTestNotification(
        self, request: notification_pb2.PublishTestNotificationRequest, context: Any
    ) -> notification_pb2.PublishTestNotificationResponse:
        model_id = check_model_id(request.model_id)
        status = codec.THUMBNAIL_STATUS_OF.get(request.status)
        if status is None:
            raise Invalid(f"status must be one of {', '.join(codec.THUMBNAIL_STATUS)}")
        url = check_thumbnail_url(request.thumbnail_url) if request.HasField("thumbnail_url") else None
        text = check_error_message(request.error_message) if request.error_message else None
        await self._views.publish_test(model_id, status, url, text)
        return notification_pb2.PublishTestNotificationResponse(message="Test notification sent successfully")

    @refusals_as_status
    async def GetThumbnail(
        self, request: notification_pb2.GetThumbnailRequest, context: Any
    ) -> notification_pb2.GetThumbnailResponse:
        version_id = request.model_version_id
        row, cursor = await (self._views.version(version_id) if version_id else self._views.thumbnail(request.model_id))
        return notification_pb2.GetThumbnailResponse(thumbnail=codec.thumbnail(row, cursor, version_id))

    @refusals_as_status
    async def GetThumbnails(
        self, request: notification_pb2.GetThumbnailsRequest, context: Any
    ) -> notification_pb2.GetThumbnailsResponse:
        check_batch(request.model_ids, "modelIds", MAX_PAGE)
        rows, cursor = await self._views.thumbnails(request.model_ids)
        return notification_pb2.GetThumbnailsResponse(thumbnails=map(codec.thumbnail, rows), cursor=str(cursor))

    @refusals_as_status
    async def CreateTicket(
        self, request: notification_pb2.CreateTicketRequest, context: Any
    ) -> notification_pb2.CreateTicketResponse:
        models = check_ticket_models(request.model_ids, all_models=request.all_models)
        life = check_ticket_life(timedelta_of(request.life) if request.HasField("life") else None)
        ticket, ends_at = self._tickets.create(ORIGIN.get().prefix, models, life)
        return notification_pb2.CreateTicketResponse(ticket=ticket, expires_at=Timestamp(seconds=ends_at))

    def _news(
        self, request: notification_pb2.SubscribeRequest, models: Set[int]
    ) -> AsyncGenerator[Step | list[JobProgress], None]:
        """Return the steps through the log and, if the subscriber asks for it, the progress of jobs."""
        steps = self._subscriptions.follow(request.after)
        return merged(steps, self._progress.follow(models)) if request.progress else steps

    async def _pieces(self, step: Step) -> AsyncIterator[Encoded]:
        """Yield the notifications of a step, some at a time, and let others run in between.

        A commit may begin before the step. Its first reader encodes it for all.
        """
        for commit in step.commits:
            encoded = self._encoded.setdefault(commit, [])
            count = commit.seq_last - commit.seq_first + 1
            for start in range(max(0, step.before + 1 - commit.seq_first), count, MAX_NOTIFICATIONS):
                end = min(count, start + MAX_NOTIFICATIONS)
                while len(encoded) < end:
                    encoded += codec.notifications(commit.row, step.cursor.epoch, len(encoded), MAX_ENCODED)
                    await asyncio.sleep(0)
                yield encoded[start:end]
