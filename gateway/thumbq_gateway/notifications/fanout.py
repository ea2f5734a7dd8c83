"""All connections of this gateway. A write never waits for a client."""

import asyncio
import itertools
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from typing import NoReturn

from thumbq.v1.notification_pb2 import ResetReason
from thumbq_gateway.http.limited_log import LimitedLog
from thumbq_gateway.metrics import CutOff, NotificationMetrics
from thumbq_gateway.notifications.audiences.audience import Audience, Message
from thumbq_gateway.notifications.audiences.connection import Connection
from thumbq_gateway.notifications.audiences.crowd import Crowd
from thumbq_gateway.notifications.cursor import Cursor
from thumbq_gateway.notifications.framing import Framing, ProgressEvent, reset_data
from thumbq_gateway.notifications.ring import Event

PIECE = 50  # connections that are written to before other tasks run: about half a millisecond
_WHEEL_SLOTS = 15  # each beat of the heartbeat wheel serves one slot, a fifteenth of the connections

log = LimitedLog()


class Fanout:
    """The connections, their audiences, and their heartbeats."""

    def __init__(self, metrics: NotificationMetrics, *, heartbeat: float, buffer_limit: int) -> None:
        """`heartbeat` in seconds; a client with more than `buffer_limit` unsent bytes is cut off."""
        self._metrics = metrics
        self._interval = heartbeat / _WHEEL_SLOTS
        self._buffer_limit = buffer_limit
        self._audiences: dict[tuple[Framing, bool, bool, frozenset[int]], Audience] = {}
        self._crowd = Crowd()
        self._wheel: list[set[Connection]] = [set() for _ in range(_WHEEL_SLOTS)]
        self._connected = True
        self._ended = False
        self._is_publishing = False

    def enter(self, connection: Connection) -> None:
        """Write heartbeats to the connection from now on, and the queue's state if the client watches it."""
        audience = self._audience_of(connection)
        connection.wheel_slot = min(self._wheel, key=len)
        connection.wheel_slot.add(connection)
        self._crowd.size += connection.is_crowded
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
        if not connection.is_crowded or not self._crowd.keeps(connection):
            self._audience_of(connection).join(connection)

    def change_models(self, connection: Connection, model_ids: frozenset[int]) -> None:
        """Write the events of these models to the connection from now on, and of no others."""
        audience = self._audience_of(connection)
        audience.leave(connection)
        connection.request = replace(connection.request, model_ids=model_ids)
        if connection.is_live and not self._crowd.is_new(connection):
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
        self._crowd.leave(connection)
        self._crowd.size -= connection.is_crowded
        self._metrics.subscribers.dec()

    async def publish(self, events: Sequence[Event]) -> None:
        """Write the events to every connection that wants them, several in one write; the crowd gets them soon.

        Call it in the same step of the event loop in which the events come into the ring: a connection that joins
        later has had them from there.
        """
        self._crowd.gather(events)
        self._is_publishing = True
        try:
            await self._write_all(self._messages(events, crowded=False))
        finally:
            self._is_publishing = False
        await self._crowd.room()

    async def serve_crowd(self) -> NoReturn:
        """Write to the crowd what has gathered for it, until cancelled."""
        await self._crowd.run(self._write_to_crowd)

    async def settle(self) -> None:
        """Return when the crowd has got everything."""
        await self._crowd.all_written()

    async def _write_to_crowd(self, events: Sequence[Event], newcomers: Mapping[Connection, int]) -> float:
        messages = self._messages(events, crowded=True)
        for connection, had in newcomers.items():
            audience = self._audience_of(connection)
            audience.join(connection)
            if wanted := list(filter(connection.request.wants, events[had:])):
                messages.append(audience.message([connection], wanted))
        return await self._write_all(messages)

    def _messages(self, events: Sequence[Event], *, crowded: bool) -> list[Message]:
        audiences = [audience for (_, _, of_crowd, _), audience in self._audiences.items() if of_crowd == crowded]
        return [message for audience in audiences for message in audience.messages(events)]

    async def _write_all(self, messages: Sequence[Message]) -> float:
        """Write messages in pieces, so that other tasks run in between. Return the seconds that the writing took."""
        took, written = 0.0, 0
        for connections, data, events_each in messages:
            for start in range(0, len(connections), PIECE):
                if written >= PIECE:
                    await asyncio.sleep(0)
                    written = 0
                began = time.perf_counter()
                some = [one for one in connections[start : start + PIECE] if one.wheel_slot is not None]
                self._write(some, data)
                self._metrics.delivered.inc(len(some) * events_each)
                written += len(some)
                took += time.perf_counter() - began
        return took

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
            due: defaultdict[tuple[Audience, Cursor | None, bool], list[Connection]] = defaultdict(list)
            now = head()
            for connection in slot:
                request = connection.request
                is_told = connection.is_live and request.is_filtered
                position = self._position_of(connection, now) if now and is_told else None
                due[self._audience_of(connection), position, request.watches_queue].append(connection)
            for (audience, position, watches_queue), connections in due.items():
                cursor = str(position) if position else None
                if watches_queue:
                    audience.send_connected(connections, self._connected, cursor)
                else:
                    audience.send_heartbeat(connections, cursor)
        raise AssertionError("a wheel has no end")

    def _position_of(self, connection: Connection, head: Cursor) -> Cursor | None:
        """Return how far a connection has come, None when it is not known."""
        if connection.is_crowded:
            return self._crowd.position_of(connection, head)
        # In the middle of a publication, some connections have not got all events before the head.
        return None if self._is_publishing else head

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
        key = framing, connection.is_chunked, connection.is_crowded, statuses
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
