"""All connections of this gateway. A write never waits for a client."""

import asyncio
import itertools
from collections import defaultdict
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from typing import NoReturn

from thumbq.v1.notification_pb2 import ResetReason
from thumbq_gateway.http.limited_log import LimitedLog
from thumbq_gateway.metrics import CutOff, NotificationMetrics
from thumbq_gateway.notifications.audience import Audience
from thumbq_gateway.notifications.connection import Connection
from thumbq_gateway.notifications.cursor import Cursor
from thumbq_gateway.notifications.framing import Framing, ProgressEvent, reset_data
from thumbq_gateway.notifications.ring import Event

PIECE = 100  # connections that are written to before other tasks run: about a millisecond
_WHEEL_SLOTS = 15  # each beat of the heartbeat wheel serves one slot, a fifteenth of the connections

log = LimitedLog()


class Fanout:
    """The connections, their audiences, and their heartbeats."""

    def __init__(self, metrics: NotificationMetrics, *, heartbeat: float, buffer_limit: int) -> None:
        """`heartbeat` in seconds; a client with more than `buffer_limit` unsent bytes is cut off."""
        self._metrics = metrics
        self._interval = heartbeat / _WHEEL_SLOTS
        self._buffer_limit = buffer_limit
        self._audiences: dict[tuple[Framing, bool, frozenset[int]], Audience] = {}
        self._wheel: list[set[Connection]] = [set() for _ in range(_WHEEL_SLOTS)]
        self._connected = True
        self._ended = False
        self._is_publishing = False

    def enter(self, connection: Connection) -> None:
        """Write heartbeats to the connection from now on, and the queue's state if the client watches it."""
        audience = self._audience_of(connection)
        connection.wheel_slot = min(self._wheel, key=len)
        connection.wheel_slot.add(connection)
        self._metrics.subscribers.inc()
        if self._ended:
            connection.end()
        if connection.request.watches_queue:
            audience.watch_queue(connection)
            if not self._connected:
                audience.send_connected([connection], connected=False)

    def join(self, connection: Connection) -> None:
        """Write live events to the connection from now on.

        Call it in the same step of the event loop in which the ring held nothing more for the client: an event that
        is published in between would be lost.
        """
        connection.is_live = True
        self._audience_of(connection).join(connection)

    def change_models(self, connection: Connection, model_ids: frozenset[int]) -> None:
        """Write the events of these models to the connection from now on, and of no others."""
        audience = self._audience_of(connection)
        audience.leave(connection)
        connection.request = replace(connection.request, model_ids=model_ids)
        if connection.is_live:
            audience.join(connection)
        if connection.request.watches_queue:
            audience.watch_queue(connection)

    def leave(self, connection: Connection) -> None:
        """Write nothing more to the connection. A second call does nothing."""
        if connection.wheel_slot is None:
            return
        connection.wheel_slot.discard(connection)
        connection.wheel_slot = None
        self._audience_of(connection).leave(connection)
        self._metrics.subscribers.dec()

    async def publish(self, events: Sequence[Event]) -> None:
        """Write the events to every connection that wants them, several in one write.

        Call it in the same step of the event loop in which the events come into the ring: a connection that joins
        later has had them from there. Other tasks run between the pieces, so that thousands of connections keep none
        waiting.
        """
        messages = [message for audience in self._audiences.values() for message in audience.messages(events)]
        self._is_publishing = True
        try:
            written = 0
            for connections, data, events_each in messages:
                for start in range(0, len(connections), PIECE):
                    if written >= PIECE:
                        await asyncio.sleep(0)
                        written = 0
                    some = [one for one in connections[start : start + PIECE] if one.wheel_slot is not None]
                    self._write(some, data)
                    self._metrics.delivered.inc(len(some) * events_each)
                    written += len(some)
        finally:
            self._is_publishing = False

    def publish_reset(self, cursor: Cursor, reason: ResetReason.ValueType) -> None:
        """Send a reset to every live connection: events are missing, and the client continues at the cursor."""
        data = reset_data(cursor, reason)
        for audience in self._audiences.values():
            self._metrics.resets.inc(audience.publish_reset(data, str(cursor)))

    def publish_connected(self, connected: bool) -> None:
        """Tell every client that watches the queue when the gateway loses or regains its server."""
        if connected != self._connected:
            self._connected = connected
            for audience in self._audiences.values():
                audience.publish_connected(connected)

    def publish_queue(self, snapshot: bytes) -> None:
        """Send the queue's state, as JSON, to every connection that watches it."""
        for audience in self._audiences.values():
            audience.publish_queue(snapshot)

    def send_queue(self, connection: Connection, snapshot: bytes) -> None:
        """Send the queue's state, as JSON, to one new connection."""
        self._audience_of(connection).send_queue([connection], snapshot)

    def publish_progress(self, events: Sequence[ProgressEvent]) -> None:
        """Send progress to every connection that asked for it, and that has taken what was sent before."""
        for audience in self._audiences.values():
            audience.publish_progress(events, _write_where_idle)

    def send_progress(self, connection: Connection, events: Sequence[ProgressEvent]) -> None:
        """Send progress to one new connection."""
        self._audience_of(connection).send_progress(connection, events, _write_where_idle)

    async def beat(self, head: Callable[[], Cursor | None]) -> NoReturn:
        """Turn the heartbeat wheel. Filtered clients get the log's head, so that they resume from there."""
        for slot in itertools.cycle(self._wheel):
            await asyncio.sleep(self._interval)
            due: defaultdict[tuple[Audience, bool, bool], list[Connection]] = defaultdict(list)
            for connection in slot:
                request = connection.request
                gets_cursor = connection.is_live and request.is_filtered
                due[self._audience_of(connection), gets_cursor, request.watches_queue].append(connection)
            # In the middle of a publication, some connections have not got all events before the head.
            now = None if self._is_publishing else head()
            for (audience, gets_cursor, watches_queue), connections in due.items():
                cursor = str(now) if now and gets_cursor else None
                if watches_queue:
                    audience.send_connected(connections, self._connected, cursor)
                else:
                    audience.send_heartbeat(connections, cursor)
        raise AssertionError("a wheel has no end")

    def end(self) -> None:
        """End every response in order, also those of clients that still arrive."""
        self._ended = True
        for slot in self._wheel:
            for connection in slot:
                connection.end()

    def cut_off(self, connection: Connection, reason: CutOff) -> None:
        """Drop a client that does not read. It can reconnect with its cursor."""
        self.leave(connection)
        connection.end()
        log.warning("subscriber.cut_off", peer=connection.transport.get_extra_info("peername"), reason=reason)
        self._metrics.cut_off.labels(reason).inc()
        connection.transport.abort()

    def _audience_of(self, connection: Connection) -> Audience:
        framing, statuses = connection.request.framing, connection.request.statuses
        key = framing, connection.is_chunked, statuses
        if key not in self._audiences:
            self._audiences[key] = Audience(framing, statuses, self._write, chunked=connection.is_chunked)
        return self._audiences[key]

    def _write(self, connections: Collection[Connection], data: bytes) -> None:
        limit = self._buffer_limit
        slow = []
        for connection in connections:
            transport = connection.transport
            if transport.get_write_buffer_size() > limit:
                slow.append(connection)
            elif not transport.is_closing():  # the handler of a closed connection may not have noticed yet
                transport.write(data)
        for connection in slow:
            self.cut_off(connection, CutOff.UNREAD)


def _write_where_idle(connections: Collection[Connection], data: bytes) -> None:
    """Write to those that have no unsent bytes: progress keeps nothing else waiting, and cuts nobody off."""
    for connection in connections:
        transport = connection.transport
        if not transport.get_write_buffer_size() and not transport.is_closing():
            transport.write(data)
