"""The one stream of notifications from the server, and pages of its log for clients with old cursors."""

import asyncio
import itertools
import random
from collections.abc import Callable, Iterator, Sequence
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
from thumbq_gateway.metrics import NotificationMetrics
from thumbq_gateway.notifications.cursor import Cursor
from thumbq_gateway.notifications.fanout import Fanout
from thumbq_gateway.notifications.framing import event_of
from thumbq_gateway.notifications.page import Page, PageBuilder
from thumbq_gateway.notifications.ring import Ring, in_pieces

_TIMEOUT = 10.0  # seconds
_BATCH = 64  # notifications that are encoded before other tasks run
_LOG_READERS = 8  # clients that read the server's log at the same time
_EARLIEST = "earliest"  # in the protocol: before everything in the log

log = structlog.get_logger()


def back_off() -> Iterator[float]:
    """Yield the pause before each next attempt, in seconds: up to 1, with jitter."""
    for attempt in itertools.count():
        yield min(1.0, 0.1 * 2 ** min(attempt, 4)) * random.uniform(0.5, 1.0)


class Listener(Protocol):
    """Takes the log as it comes in, beside the clients. Must not block."""

    def hear(self, notifications: Sequence[Notification]) -> None:
        """Take the notifications that follow those before."""

    def log_has_hole(self) -> None:
        """Take note of a hole in the log."""


class Upstream:
    """Follows the server's log through every outage. Each event goes into the ring, then to the clients."""

    def __init__(
        self,
        channel: grpc.aio.Channel,
        fanout: Fanout,
        metrics: NotificationMetrics,
        *,
        ring_capacity: int,
        ring_bytes: int,
    ) -> None:
        """The ring keeps at most `ring_capacity` notifications and `ring_bytes` bytes of them."""
        self._service = NotificationServiceStub(channel)
        self._fanout = fanout
        self._metrics = metrics
        self._ring_capacity = ring_capacity
        self._ring_bytes = ring_bytes
        self.listeners: list[Listener] = []
        self._ring: Ring | None = None
        # Done when the ring has reached the head that the log had when the gateway started.
        self.caught_up: asyncio.Future[Ring] = asyncio.get_running_loop().create_future()
        self._log_readers = asyncio.Semaphore(_LOG_READERS)
        self._pauses = back_off()
        self._connected = True  # assumed, so that a failure of the first attempt is logged as a loss

    def head(self) -> Cursor | None:
        """Return the head of the ring, or None before the server first answered."""
        return self._ring.head if self._ring else None

    async def run(self) -> NoReturn:
        """Follow the log, and reconnect whenever the stream ends."""
        while True:
            problem = "the server ended the stream"
            try:
                await self._follow()
            except grpc.aio.AioRpcError as error:
                problem = f"{error.code().name}: {error.details()}"
            self._set_connected(False, problem)
            await asyncio.sleep(next(self._pauses))

    async def head_of_server(self) -> Cursor:
        """Ask the server for the head of its log. Raises AioRpcError."""
        answer = await self._service.GetNotificationCursor(GetNotificationCursorRequest(), timeout=_TIMEOUT)
        return Cursor.parse(answer.cursor)

    async def read_page(self, position: Cursor | None, floor: Cursor, wants: Callable[[Notification], bool]) -> Page:
        """Read the next stretch of the log after the position, at most to the ring's floor. Keeps the wanted events.

        A position of None is the beginning of the log.

        Raises AioRpcError, TimeoutError.
        """
        after = _EARLIEST if position is None else str(position)
        page = PageBuilder(wants)
        async with self._log_readers, asyncio.timeout(_TIMEOUT):
            self._metrics.log_pages.inc()
            stream = self._service.Subscribe(SubscribeRequest(after=after))
            try:
                async for response in stream:
                    cursor = Cursor.parse(response.cursor)
                    if response.reset:
                        # If the log was pruned during this read, the next read begins with the reset.
                        return page.built() or Page([], cursor, response.reset_reason)
                    await page.take(response.notifications, cursor)
                    if page.is_full or cursor.epoch != floor.epoch or cursor.seq >= floor.seq:
                        return page.built() or Page([], cursor)
            finally:
                stream.cancel()
        raise TimeoutError("the server ended the stream too soon")

    async def _follow(self) -> None:
        if self._ring is None:
            target = await self.head_of_server()
            start = target._replace(seq=max(0, target.seq - self._ring_capacity))
            self._ring = Ring(start, target, self._ring_capacity, self._ring_bytes)
        ring = self._ring
        self._note_progress(ring)
        stream = self._service.Subscribe(SubscribeRequest(after=str(ring.head)))
        try:
            async for response in stream:
                self._set_connected(True)
                self._pauses = back_off()
                await self._publish(ring, response)
                self._note_progress(ring)
        finally:
            stream.cancel()

    async def _publish(self, ring: Ring, response: SubscribeResponse) -> None:
        cursor = Cursor.parse(response.cursor)
        if response.reset:
            reason = ResetReason.Name(response.reset_reason)
            log.warning("upstream.reset", held=str(ring.head), now=str(cursor), reason=reason)
            ring.restart(cursor)
            self._fanout.publish_reset(cursor, response.reset_reason)
            for listener in self.listeners:
                listener.log_has_hole()
            return
        for start in range(0, len(response.notifications), _BATCH):
            batch = response.notifications[start : start + _BATCH]
            news = [event for event in map(event_of, batch) if event.seq > ring.head.seq]
            if news:
                for piece in in_pieces(news):
                    ring.append(piece)
                    self._fanout.publish(piece)
                for listener in self.listeners:
                    listener.hear(batch[-len(news) :])
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
        self._fanout.publish_connected(connected)
        self._metrics.upstream_connected.set(connected)
