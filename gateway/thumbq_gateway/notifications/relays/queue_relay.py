"""The state of the queue as a whole. The gateway asks the server for it only while a client watches."""

from collections.abc import Callable

import grpc

from thumbq.v1.notification_pb2 import QueueSnapshot, WatchQueueRequest, WatchQueueResponse
from thumbq.v1.notification_pb2_grpc import NotificationServiceStub
from thumbq_gateway.notifications.fanout import Fanout
from thumbq_gateway.notifications.relays.on_demand import OnDemand
from thumbq_gateway.protojson.encoder import encoder_of, json_bytes

_print_snapshot = encoder_of(QueueSnapshot.DESCRIPTOR)


class QueueRelay:
    """Passes each snapshot on to the clients that watch the queue, and keeps the last one for new clients."""

    def __init__(
        self, channel: grpc.aio.Channel, fanout: Fanout, note_server: Callable[[str | None], None], *, linger: float
    ) -> None:
        """Keep the stream for `linger` seconds after the last watcher has left.

        `note_server` gets the problem of each stream that ends, and None when the next one answers.
        """
        service = NotificationServiceStub(channel)
        self._fanout = fanout
        self._note_server = note_server
        self._stream = OnDemand(
            lambda: service.WatchQueue(WatchQueueRequest()), self._take, self._forget, note_server, linger=linger
        )
        self.enter, self.leave, self.end = self._stream.enter, self._stream.leave, self._stream.end
        self.latest: bytes | None = None  # JSON
        self.listeners: list[Callable[[QueueSnapshot], None]] = []  # they get each snapshot while there is a watcher

    def note_server(self, problem: str | None) -> None:
        """Pass on what another call to the server found. While the queue is watched, its stream alone tells.

        A server that ends may answer a call after its streams have ended.
        """
        if not self._stream.is_wanted:
            self._note_server(problem)

    def _take(self, response: WatchQueueResponse) -> None:
        self.latest = json_bytes(_print_snapshot(response.snapshot))
        self._fanout.publish_queue(self.latest)
        for listener in self.listeners:
            listener(response.snapshot)

    def _forget(self) -> None:
        self.latest = None
