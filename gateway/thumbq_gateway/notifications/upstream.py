"""The one stream of notifications from the server, and pages of its log for those who were away for long."""

import asyncio
import itertools
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NoReturn, Protocol

import grpc
import structlog

from thumbq.v1.notification_pb2 import (
    GetNotificationCursorRequest,
    Notification,
    ResetReason,
    SubscribeRequest,
    SubscribeResponse,
)
from thumbq.v1.notification_pb2_grpc import NotificationServiceStub
from thumbq_gateway.metrics import Metrics
from thumbq_gateway.notifications.fanout import Fanout
from thumbq_gateway.notifications.framing import event_of
from thumbq_gateway.notifications.ring import Cursor, Event, Ring

DEADLINE = 10.0  # seconds
_PIECE = 64  # notifications that are published before anybody else gets a turn
_PAGE = 2_000  # notifications of the log that one client gets before the next has its turn
_READERS = 8  # of the log, at once

log = structlog.get_logger()


def back_off() -> Iterator[float]:
    """Seconds to wait before each next attempt: up to 1, with jitter."""
    for attempt in itertools.count():
        yield min(1.0, 0.1 * 2 ** min(attempt, 4)) * random.uniform(0.5, 1.0)


@dataclass(frozen=True)
class Page:
    """A stretch of the log that ends at `cursor`."""

    events: Sequence[Event]
    cursor: Cursor
    reset_reason: ResetReason.ValueType = ResetReason.RESET_REASON_UNSPECIFIED  # why it does not begin where it should


class Listener(Protocol):
    """Takes the log as it comes in, beside the subscribers. Must not block."""

    def hear(self, notifications: Sequence[Notification]) -> None:
        """Takes what follows what it took before."""

    def forget(self) -> None:
        """Takes that there is a hole."""


class Upstream:
    """Follows the server's log into the ring and on to the subscribers, through every outage of the server."""

    def __init__(
        self,
        channel: grpc.aio.Channel,
        fanout: Fanout,
        metrics: Metrics,
        *,
        ring_capacity: int,
        ring_bytes: int,
    ) -> None:
        """The ring keeps at most so many notifications, and bytes of them."""
        self._service = NotificationServiceStub(channel)
        self._fanout = fanout
        self._metrics = metrics
        self._ring_capacity = ring_capacity
        self._ring_bytes = ring_bytes
        self.listeners: list[Listener] = []
        self._ring: Ring | None = None
        # The ring, once it has reached where the log stood when the gateway started.
        self.caught_up: asyncio.Future[Ring] = asyncio.get_running_loop().create_future()
        self._log_readers = asyncio.Semaphore(_READERS)
        self._pauses = back_off()
        self._connected = True  # until it turns out otherwise, which is worth a line in the log

    def head(self) -> Cursor | None:
        """Where the ring stands, as far as it is known yet."""
        return self._ring.head if self._ring else None

    async def run(self) -> NoReturn:
        """Follows for ever."""
        while True:
            problem = "the server ended the stream"
            try:
                await self._follow()
            except grpc.aio.AioRpcError as error:
                problem = f"{error.code().name}: {error.details()}"
            self._set_connected(False, problem)
            await asyncio.sleep(next(self._pauses))

    async def now(self) -> Cursor:
        """Where the server's log stands. Raises AioRpcError."""
        answer = await self._service.GetNotificationCursor(GetNotificationCursorRequest(), timeout=DEADLINE)
        return Cursor.parse(answer.cursor)

    async def page(self, after: str, floor: Cursor, wants: Callable[[Notification], bool]) -> Page:
        """The next stretch of the log towards the ring's floor; of it, what is wanted.

        Raises AioRpcError, TimeoutError.
        """
        events: list[Event] = []
        taken = 0
        reached: Cursor | None = None
        async with self._log_readers, asyncio.timeout(DEADLINE):
            self._metrics.log_pages.inc()
            stream = self._service.Subscribe(SubscribeRequest(after=after))
            try:
                async for response in stream:
                    cursor = Cursor.parse(response.cursor)
                    if response.reset:
                        # pruned while it was read? Whoever then asks for what follows is told
                        return Page(events, reached) if reached else Page([], cursor, response.reset_reason)
                    reached = cursor
                    taken += len(response.notifications)
                    events += [event_of(notification) for notification in response.notifications if wants(notification)]
                    if taken >= _PAGE or cursor.epoch != floor.epoch or cursor.seq >= floor.seq:
                        return Page(events, cursor)
            finally:
                stream.cancel()
        raise TimeoutError("the server ended the stream too soon")

    async def _follow(self) -> None:
        if self._ring is None:
            target = await self.now()
            start = target._replace(seq=max(0, target.seq - self._ring_capacity))
            self._ring = Ring(start, target, self._ring_capacity, self._ring_bytes)
        ring = self._ring
        self._note_progress(ring)
        stream = self._service.Subscribe(SubscribeRequest(after=str(ring.head)))
        try:
            async for response in stream:
                self._set_connected(True)
                self._pauses = back_off()
                await self._take(ring, response)
                self._note_progress(ring)
        finally:
            stream.cancel()

    async def _take(self, ring: Ring, response: SubscribeResponse) -> None:
        cursor = Cursor.parse(response.cursor)
        if response.reset:
            reason = ResetReason.Name(response.reset_reason)
            log.warning("upstream.reset", held=str(ring.head), now=str(cursor), reason=reason)
            ring.restart(cursor)
            self._fanout.publish_reset(cursor, response.reset_reason)
            for listener in self.listeners:
                listener.forget()
            return
        for start in range(0, len(response.notifications), _PIECE):
            notifications = response.notifications[start : start + _PIECE]
            news = [event for event in map(event_of, notifications) if event.seq > ring.head.seq]
            if news:
                ring.append(news)
                self._fanout.publish(news)
                for listener in self.listeners:
                    listener.hear(notifications[-len(news) :])
                await asyncio.sleep(0)
        ring.advance(max(ring.head.seq, cursor.seq))

    def _note_progress(self, ring: Ring) -> None:
        if not self.caught_up.done() and ring.is_filled:
            self.caught_up.set_result(ring)

    def _set_connected(self, connected: bool, problem: str = "") -> None:
        if connected != self._connected:
            if connected:
                log.info("upstream.following")
            else:
                log.warning("upstream.lost", problem=problem)
        self._connected = connected
        self._fanout.publish_connection(connected)
        self._metrics.upstream_connected.set(connected)
