"""The state of the queue as a whole. The gateway asks the server for it only while a client watches."""

import asyncio
from collections.abc import Callable

import grpc

from thumbq.v1.notification_pb2 import QueueSnapshot, WatchQueueRequest
from thumbq.v1.notification_pb2_grpc import NotificationServiceStub
from thumbq_gateway.notifications.fanout import Fanout
from thumbq_gateway.notifications.upstream import back_off
from thumbq_gateway.protojson.encoder import encoder_of, json_bytes

_print_snapshot = encoder_of(QueueSnapshot.DESCRIPTOR)


class QueueRelay:
    """Passes each snapshot on to the clients that watch the queue, and keeps the last one for new clients."""

    def __init__(self, channel: grpc.aio.Channel, fanout: Fanout, *, linger: float) -> None:
        """Keep the stream for `linger` seconds after the last watcher has left, since pages are often reloaded."""
        self._service = NotificationServiceStub(channel)
        self._fanout = fanout
        self._linger = linger
        self._watchers = 0
        self._task: asyncio.Task[None] | None = None
        self._end: asyncio.TimerHandle | None = None
        self.latest: bytes | None = None  # JSON
        self.listeners: list[Callable[[QueueSnapshot], None]] = []  # they get each snapshot while there is a watcher

    def enter(self) -> None:
        """Count one watcher more, and open the stream for the first."""
        self._watchers += 1
        if self._end:
            self._end.cancel()
            self._end = None
        if self._task is None:
            self._task = asyncio.create_task(self._follow())

    def leave(self) -> None:
        """Count one watcher less, and close the stream some time after the last."""
        self._watchers -= 1
        if not self._watchers:
            self._end = asyncio.get_running_loop().call_later(self._linger, self.end)

    def end(self) -> None:
        """Close the stream."""
        if self._end:
            self._end.cancel()
            self._end = None
        if self._task:
            self._task.cancel()
            self._task = None
        self.latest = None

    async def _follow(self) -> None:
        while True:
            pauses = back_off()
            stream = self._service.WatchQueue(WatchQueueRequest())
            try:
                async for response in stream:
                    pauses = back_off()
                    self.latest = json_bytes(_print_snapshot(response.snapshot))
                    self._fanout.publish_queue(self.latest)
                    for listener in self.listeners:
                        listener(response.snapshot)
            except grpc.aio.AioRpcError:
                pass  # Upstream reports the outage
            finally:
                stream.cancel()
            await asyncio.sleep(next(pauses))
