"""NotificationService: what pages and other programs learn."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from thumbq.v1 import notification_pb2, notification_pb2_grpc
from thumbq_server.domain.job import Invalid, check_error_message
from thumbq_server.engine.hub import Commit, Hub, HubClosed, LogPruned
from thumbq_server.engine.queue_watch import QueueWatch
from thumbq_server.rpc import codec
from thumbq_server.rpc.errors import translated
from thumbq_server.storage import log as notification_log
from thumbq_server.storage import records
from thumbq_server.storage.database import Database, Unavailable

# Larger messages gain nothing, and would reach the limit of gRPC.
MAX_NOTIFICATIONS = 1000
MAX_URL = 2000
_AWAY_RETRY_SECONDS = 0.5


class NotificationService(notification_pb2_grpc.NotificationServiceServicer):
    """Translates; the log is kept by `storage.log` and tailed by `engine.hub`."""

    def __init__(self, database: Database, hub: Hub, watch: QueueWatch) -> None:
        self._database = database
        self._hub = hub
        self._watch = watch

    async def Subscribe(
        self, request: notification_pb2.SubscribeRequest, context: Any
    ) -> AsyncIterator[notification_pb2.SubscribeResponse]:
        wanted = frozenset(request.model_ids)
        with self._hub.reading():
            epoch, seq, reset = await self._patiently(self._start, request.after)
            yield notification_pb2.SubscribeResponse(cursor=codec.cursor(epoch, seq), reset=reset)
            while True:
                try:
                    commits = await self._patiently(self._hub.after, seq)
                except HubClosed:
                    return
                except LogPruned:
                    epoch, seq = await self._patiently(notification_log.head, self._database)
                    yield notification_pb2.SubscribeResponse(cursor=codec.cursor(epoch, seq), reset=True)
                    continue
                news = [
                    notification
                    for commit in commits
                    for notification in _encoded(commit, epoch)[max(0, seq + 1 - commit.seq_first) :]
                    if not wanted or notification.model_id in wanted
                ]
                seq = commits[-1].seq_last
                for start in range(0, len(news), MAX_NOTIFICATIONS):
                    some = news[start : start + MAX_NOTIFICATIONS]
                    yield notification_pb2.SubscribeResponse(notifications=some, cursor=some[-1].cursor)
                if not news or news[-1].cursor != codec.cursor(epoch, seq):
                    yield notification_pb2.SubscribeResponse(cursor=codec.cursor(epoch, seq))

    async def WatchQueue(
        self, request: notification_pb2.WatchQueueRequest, context: Any
    ) -> AsyncIterator[notification_pb2.WatchQueueResponse]:
        async for counters, rendering in self._watch.snapshots():
            yield notification_pb2.WatchQueueResponse(snapshot=codec.snapshot(counters, rendering))

    @translated
    async def GetNotificationCursor(
        self, request: notification_pb2.GetNotificationCursorRequest, context: Any
    ) -> notification_pb2.GetNotificationCursorResponse:
        epoch, seq = await notification_log.head(self._database)
        return notification_pb2.GetNotificationCursorResponse(cursor=codec.cursor(epoch, seq))

    @translated
    async def PublishTestNotification(
        self, request: notification_pb2.PublishTestNotificationRequest, context: Any
    ) -> notification_pb2.PublishTestNotificationResponse:
        if request.model_id <= 0:
            raise Invalid("modelId must be a positive integer")
        if not request.status or request.status not in codec.THUMBNAIL_STATUS_WORD:
            raise Invalid(f"status must be one of {', '.join(list(codec.THUMBNAIL_STATUS)[1:])}")
        url = request.thumbnail_url if request.HasField("thumbnail_url") else None
        if url is not None and (len(url) > MAX_URL or not url.isprintable()):
            raise Invalid("thumbnailUrl is malformed")
        text = check_error_message(request.error_message) if request.error_message else None
        word = codec.THUMBNAIL_STATUS_WORD[request.status]
        await notification_log.publish_test(self._database, request.model_id, word, url, text)
        return notification_pb2.PublishTestNotificationResponse(message="Test notification sent successfully")

    @translated
    async def GetThumbnail(
        self, request: notification_pb2.GetThumbnailRequest, context: Any
    ) -> notification_pb2.GetThumbnailResponse:
        row = await records.thumbnail(self._database, request.model_id)
        return notification_pb2.GetThumbnailResponse(thumbnail=codec.thumbnail(row))

    async def _start(self, after: str) -> tuple[str, int, bool]:
        """Epoch and seq to go on from, and whether that leaves a hole behind (reset)."""
        epoch, head = await notification_log.head(self._database)
        if after in ("", "latest"):
            return epoch, head, False
        oldest = await notification_log.oldest(self._database)
        earliest = head if oldest is None else oldest - 1
        if after == "earliest":
            return epoch, earliest, False
        known_epoch, _, digits = after.rpartition("-")
        seq = int(digits) if digits.isascii() and digits.isdigit() and len(digits) < 19 else -1
        if known_epoch == epoch and earliest <= seq <= head:
            return epoch, seq, False
        return epoch, head, True

    async def _patiently(self, ask: Any, *arguments: Any) -> Any:
        """Ask until PostgreSQL answers: subscribers stay where they are through an outage."""
        while True:
            try:
                return await ask(*arguments)
            except Unavailable:
                await asyncio.sleep(_AWAY_RETRY_SECONDS)


def _encoded(commit: Commit, epoch: str) -> list[notification_pb2.Notification]:
    if commit.encoded is None:
        commit.encoded = codec.notifications(commit.row, epoch)
    encoded: list[notification_pb2.Notification] = commit.encoded
    return encoded
