"""Who listens, and how the same bytes reach all of them without anybody being waited for."""

import asyncio
import itertools
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import NoReturn

import structlog

from thumbq.v1.notification_pb2 import ResetReason
from thumbq_gateway.metrics import CutOff, Metrics
from thumbq_gateway.notifications.audience import Audience, Subscriber
from thumbq_gateway.notifications.framing import Framing, heartbeat_data, reset_data
from thumbq_gateway.notifications.ring import Cursor, Event

_SPOKES = 15  # of the heartbeat wheel: each beat goes to one part of the clients

log = structlog.get_logger()


class Fanout:
    """All subscribers of this gateway."""

    def __init__(self, metrics: Metrics, *, heartbeat: float, buffer_limit: int) -> None:
        """`heartbeat` in seconds; a client with more than `buffer_limit` bytes unsent is cut off."""
        self._metrics = metrics
        self._interval = heartbeat / _SPOKES
        self._buffer_limit = buffer_limit
        self._audiences: dict[tuple[int, bool, frozenset[int]], Audience] = {}  # there are few kinds
        self._wheel: list[set[Subscriber]] = [set() for _ in range(_SPOKES)]
        self._connected = True
        self._ended = False

    def audience(self, framing: Framing, statuses: frozenset[int], *, chunked: bool) -> Audience:
        """Where a client of this kind belongs."""
        key = framing.index, chunked, statuses
        if key not in self._audiences:
            self._audiences[key] = Audience(framing, statuses, chunked=chunked)
        return self._audiences[key]

    def enter(self, subscriber: Subscriber) -> None:
        """From now on it gets heartbeats, and the queue's state when it wants it."""
        subscriber.spoke = min(self._wheel, key=len)
        subscriber.spoke.add(subscriber)
        self._metrics.subscribers.inc()
        if self._ended:
            subscriber.end()
        if subscriber.watches_queue:
            subscriber.audience.of_queue.add(subscriber)
            if not self._connected:
                self._write([subscriber], self._connection(subscriber.audience))

    def join(self, subscriber: Subscriber) -> None:
        """From now on it gets what is published. Belongs in the same step as the look at the ring's head."""
        audience = subscriber.audience
        subscriber.joined = True
        for model_id in subscriber.model_ids:
            audience.by_model[model_id].add(subscriber)
        if not subscriber.model_ids:
            audience.of_all_models.add(subscriber)

    def leave(self, subscriber: Subscriber) -> None:
        """Nothing more for it; harmless when it has left already."""
        if subscriber.spoke is None:
            return
        subscriber.spoke.discard(subscriber)
        subscriber.spoke = None
        audience = subscriber.audience
        audience.of_queue.discard(subscriber)
        audience.of_all_models.discard(subscriber)
        for model_id in subscriber.model_ids:
            audience.by_model[model_id].discard(subscriber)
            if not audience.by_model[model_id]:
                del audience.by_model[model_id]
        self._metrics.subscribers.dec()

    def publish(self, events: Sequence[Event]) -> None:
        """Writes the events to those whom they concern, several in one write."""
        for audience in self._audiences.values():
            wanted = audience.of_interest(events)
            if wanted and audience.of_all_models:
                self._write(audience.of_all_models, audience.packed_events(wanted))
                self._metrics.delivered.inc(len(audience.of_all_models) * len(wanted))
            if wanted and audience.by_model:
                self._publish_filtered(audience, wanted)

    def publish_reset(self, cursor: Cursor, reason: ResetReason.ValueType) -> None:
        """Tells all who have joined that there is a hole, and where to go on."""
        data = reset_data(cursor, reason)
        for audience in self._audiences.values():
            joined = set().union(audience.of_all_models, *audience.by_model.values())
            self._write(joined, audience.packed(audience.framing.event("reset", data, str(cursor))))
            self._metrics.resets.inc(len(joined))

    def publish_connection(self, connected: bool) -> None:
        """Tells those who watch the queue when its server goes away or is back."""
        if connected != self._connected:
            self._connected = connected
            for audience in self._audiences.values():
                if audience.of_queue:
                    self._write(audience.of_queue, self._connection(audience))

    def publish_queue(self, snapshot: bytes) -> None:
        """Writes the queue's state, as JSON, to those who watch it."""
        for audience in self._audiences.values():
            if audience.of_queue:
                frame = audience.framing.event("queue", snapshot, None)
                self._write(audience.of_queue, audience.packed(frame))

    def show_queue(self, subscriber: Subscriber, snapshot: bytes) -> None:
        """Writes the queue's state to one who has just come."""
        audience = subscriber.audience
        self._write([subscriber], audience.packed(audience.framing.event("queue", snapshot, None)))

    async def beat(self, head: Callable[[], Cursor | None]) -> NoReturn:
        """Turns the heartbeat wheel; those who want few models learn how far the log has come without them."""
        for spoke in itertools.cycle(self._wheel):
            await asyncio.sleep(self._interval)
            due: defaultdict[tuple[Audience, bool, bool], list[Subscriber]] = defaultdict(list)
            for subscriber in spoke:
                tells_cursor = subscriber.joined and subscriber.is_filtered
                due[subscriber.audience, tells_cursor, subscriber.watches_queue].append(subscriber)
            now = str(head())
            for (audience, tells_cursor, watches_queue), subscribers in due.items():
                cursor = now if tells_cursor else None
                if watches_queue:
                    self._write(subscribers, self._connection(audience, cursor))
                else:
                    self._write(subscribers, audience.packed(audience.framing.heartbeat(cursor)))
        raise AssertionError("a wheel has no end")

    def end(self) -> None:
        """Ends every subscriber's connection in an orderly way, and of those who still come."""
        self._ended = True
        for spoke in self._wheel:
            for subscriber in spoke:
                subscriber.end()

    def cut_off(self, subscriber: Subscriber, reason: CutOff) -> None:
        """Drops a client that does not read; it comes back with its cursor when it can."""
        self.leave(subscriber)
        subscriber.end()
        log.warning("subscriber.cut_off", peer=subscriber.transport.get_extra_info("peername"), reason=reason)
        self._metrics.cut_off.labels(reason).inc()
        subscriber.transport.abort()

    def _connection(self, audience: Audience, cursor: str | None = None) -> bytes:
        return audience.packed(audience.framing.event("heartbeat", heartbeat_data(self._connected), cursor))

    def _publish_filtered(self, audience: Audience, events: Sequence[Event]) -> None:
        wanted: defaultdict[Subscriber, list[Event]] = defaultdict(list)
        for event in events:
            for subscriber in audience.by_model.get(event.model_id, ()):
                wanted[subscriber].append(event)
        alike: defaultdict[tuple[Event, ...], list[Subscriber]] = defaultdict(list)
        for subscriber, matching in wanted.items():
            alike[tuple(matching)].append(subscriber)
        for same, subscribers in alike.items():
            self._write(subscribers, audience.packed_events(same))
            self._metrics.delivered.inc(len(subscribers) * len(same))

    def _write(self, subscribers: Iterable[Subscriber], data: bytes) -> None:
        limit = self._buffer_limit
        slow = []
        for subscriber in subscribers:
            transport = subscriber.transport
            if transport.get_write_buffer_size() > limit:
                slow.append(subscriber)
            elif not transport.is_closing():  # its handler may not know yet that it is gone
                transport.write(data)
        for subscriber in slow:
            self.cut_off(subscriber, CutOff.UNREAD)
