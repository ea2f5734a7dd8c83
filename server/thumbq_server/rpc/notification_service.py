"""NotificationService: what pages and other programs learn."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc

from thumbq.v1 import job_pb2, notification_pb2, notification_pb2_grpc
from thumbq.v1.notification_pb2 import ResetReason
from thumbq_server.domain.refusals import Invalid
from thumbq_server.domain.requests import check_error_message
from thumbq_server.engine.hub import Commit, Hub, HubClosed, LogPruned
from thumbq_server.engine.queue_watch import QueueWatch
from thumbq_server.rpc import codec
from thumbq_server.rpc.errors import translated
from thumbq_server.storage import notification_log
from thumbq_server.storage.postgres.database import Database
from thumbq_server.storage.postgres.errors import Unavailable
from thumbq_server.storage.reads.thumbnails import read_thumbnail

# Larger messages gain nothing, and would reach the limit of gRPC.
MAX_NOTIFICATIONS = 1000
MAX_URL = 2000
_AWAY_RETRY_SECONDS = 0.5
_NO_RESET = ResetReason.RESET_REASON_UNSPECIFIED
_STATUSES = frozenset(codec.THUMBNAIL_STATUS_WORD) - {job_pb2.THUMBNAIL_STATUS_UNSPECIFIED}


class NotificationService(notification_pb2_grpc.NotificationServiceServicer):
    """Translates; the log is kept by `storage.log` and tailed by `engine.hub`."""

    def __init__(self, database: Database, hub: Hub, watch: QueueWatch) -> None:
        self._database = database
        self._hub = hub
        self._watch = watch

    async def Subscribe(
        self, request: notification_pb2.SubscribeRequest, context: Any
    ) -> AsyncIterator[notification_pb2.SubscribeResponse]:
        models, statuses = frozenset(request.model_ids), frozenset(request.statuses)
        if not statuses <= _STATUSES:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "statuses must be statuses of thumbnails")
        with self._hub.reading():
            epoch, seq, reason = await self._patiently(self._start, request.after)
            yield _moved(codec.cursor(epoch, seq), reason)
            while True:
                try:
                    commits = await self._patiently(self._hub.after, seq)
                except HubClosed:
                    return
                except LogPruned:
                    epoch, seq = await self._patiently(notification_log.head, self._database)
                    yield _moved(codec.cursor(epoch, seq), ResetReason.RESET_REASON_TOO_OLD)
                    continue
                news = [
                    notification
                    for commit in commits
                    for notification in _encoded(commit, epoch)[max(0, seq + 1 - commit.seq_first) :]
                    if (not models or notification.model_id in models)
                    and (not statuses or notification.status in statuses)
                ]
                seq = commits[-1].seq_last
                for start in range(0, len(news), MAX_NOTIFICATIONS):
                    some = news[start : start + MAX_NOTIFICATIONS]
                    yield notification_pb2.SubscribeResponse(notifications=some, cursor=some[-1].cursor)
                if not news or news[-1].cursor != codec.cursor(epoch, seq):
                    yield _moved(codec.cursor(epoch, seq))

    async def WatchQueue(
        self, request: notification_pb2.WatchQueueRequest, context: Any
    ) -> AsyncIterator[notification_pb2.WatchQueueResponse]:
        async for snapshot in self._watch.snapshots():
            yield notification_pb2.WatchQueueResponse(snapshot=codec.snapshot(snapshot))

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
        # before the thumbnail: what happens in between is announced again rather than missed
        cursor = codec.cursor(*await notification_log.head(self._database))
        row = await read_thumbnail(self._database, request.model_id)
        return notification_pb2.GetThumbnailResponse(thumbnail=codec.thumbnail(row, cursor))

    async def _start(self, after: str) -> tuple[str, int, ResetReason.ValueType]:
        """Epoch and seq to go on from, and why that leaves a hole behind, if it does."""
        epoch, head = await notification_log.head(self._database)
        if after in ("", "latest"):
            return epoch, head, _NO_RESET
        oldest = await notification_log.oldest(self._database)
        earliest = head if oldest is None else oldest - 1
        if after == "earliest":
            return epoch, earliest, _NO_RESET
        seq, reason = _resumed(after, epoch, earliest, head)
        return epoch, seq, reason

    async def _patiently(self, ask: Any, *arguments: Any) -> Any:
        """Ask until PostgreSQL answers: subscribers stay where they are through an outage."""
        while True:
            try:
                return await ask(*arguments)
            except Unavailable:
                await asyncio.sleep(_AWAY_RETRY_SECONDS)


def _resumed(after: str, epoch: str, earliest: int, head: int) -> tuple[int, ResetReason.ValueType]:
    known_epoch, _, digits = after.rpartition("-")
    if not (known_epoch and digits.isascii() and digits.isdigit() and len(digits) < 19):
        return head, ResetReason.RESET_REASON_MALFORMED
    if known_epoch != epoch:
        return head, ResetReason.RESET_REASON_OTHER_LOG
    if int(digits) > head:
        return head, ResetReason.RESET_REASON_FUTURE
    if int(digits) < earliest:
        return head, ResetReason.RESET_REASON_TOO_OLD
    return int(digits), _NO_RESET


def _moved(cursor: str, reset_reason: ResetReason.ValueType = _NO_RESET) -> notification_pb2.SubscribeResponse:
    """A message that only says where to go on from, and whether there is a hole before it."""
    return notification_pb2.SubscribeResponse(cursor=cursor, reset=bool(reset_reason), reset_reason=reset_reason)


def _encoded(commit: Commit, epoch: str) -> list[notification_pb2.Notification]:
    if commit.encoded is None:
        commit.encoded = codec.notifications(commit.row, epoch)
    encoded: list[notification_pb2.Notification] = commit.encoded
    return encoded
