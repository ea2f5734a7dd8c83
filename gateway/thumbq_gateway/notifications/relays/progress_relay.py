"""How far the jobs under way have come. The gateway asks the server for it only while a client wants it."""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import TypeVar

import grpc

from thumbq.v1.job_pb2 import ThumbnailStatus
from thumbq.v1.notification_pb2 import Notification, SubscribeRequest, SubscribeResponse
from thumbq.v1.notification_pb2_grpc import NotificationServiceStub
from thumbq_gateway.notifications.audiences.connection import Connection
from thumbq_gateway.notifications.fanout import Fanout
from thumbq_gateway.notifications.framing import ProgressEvent, progress_event_of
from thumbq_gateway.notifications.relays.on_demand import OnDemand

# Each progress comes with the whole log unless its statuses are few. This one is seldom: a model was forgotten.
_REQUEST = SubscribeRequest(progress=True, statuses=[ThumbnailStatus.THUMBNAIL_STATUS_NONE])
_MOST_KEPT = 5_000

T = TypeVar("T")


class ProgressRelay:
    """Passes progress on to the clients that asked for it, and keeps the newest of each job for new clients."""

    def __init__(
        self, channel: grpc.aio.Channel, fanout: Fanout, note_server: Callable[[str | None], None], *, linger: float
    ) -> None:
        """Keep the stream for `linger` seconds after the last client has left.

        `note_server` gets the problem of each stream that ends, and None when the next one answers.
        """
        service = NotificationServiceStub(channel)
        self._fanout = fanout
        self._stream = OnDemand(
            lambda: service.Subscribe(_REQUEST), self._take, self.log_has_hole, note_server, linger=linger
        )
        self.enter, self.leave, self.end = self._stream.enter, self._stream.leave, self._stream.end
        self._latest: OrderedDict[int, ProgressEvent] = OrderedDict()  # by job, the oldest change first
        self._ended: OrderedDict[int, int] = OrderedDict()  # the last attempt of jobs, the oldest end first

    def send_latest(self, connection: Connection) -> None:
        """Send a new client what is known."""
        self._fanout.send_progress(connection, list(self._latest.values()))

    async def hear(self, notifications: Sequence[Notification]) -> None:
        """Forget the jobs whose attempts have ended."""
        if not self._stream.is_wanted:
            return
        for notification in notifications:
            self._latest.pop(notification.job_id, None)
            _put(self._ended, notification.job_id, notification.attempt_count)

    def log_has_hole(self) -> None:
        """Forget all jobs, since any attempt may have ended."""
        self._latest.clear()
        self._ended.clear()

    def _take(self, response: SubscribeResponse) -> None:
        events = []
        for told in response.progress:
            # the end of an attempt comes another way, and may be here first
            if told.attempt_count > self._ended.get(told.job_id, 0):
                events.append(event := progress_event_of(told))
                _put(self._latest, told.job_id, event)
        if events:
            self._fanout.publish_progress(events)


def _put(kept: OrderedDict[int, T], job_id: int, value: T) -> None:
    """Keep the newest values."""
    kept[job_id] = value
    kept.move_to_end(job_id)
    if len(kept) > _MOST_KEPT:
        kept.popitem(last=False)
