"""The one stream of notifications from the server while anybody listens, and pages of its log for old cursors."""

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
from thumbq_gateway.notifications.demand import Demand
from thumbq_gateway.notifications.fanout import Fanout
from thumbq_gateway.notifications.framing import event_of
from thumbq_gateway.notifications.page import Page, PageBuilder
from thumbq_gateway.notifications.ring import Ring, in_pieces

_TIMEOUT = 10.0  # seconds
_BATCH = 64  # notifications that are encoded before other tasks run
_LOG_READERS = 8  # clients that read the server's log at the same time
COMING_BACK = 120.0  # seconds: longer than a page of generation 2 tries to come back
PATIENCE = 1.0  # seconds that a new client waits for the present
_EARLIEST = "earliest"  # in the protocol: before everything in the log

log = structlog.get_logger()


def back_off() -> Iterator[float]:
    """Yield the pause before each next attempt, in seconds: up to 1, with jitter."""
    for attempt in itertools.count():
        yield min(1.0, 0.1 * 2 ** min(attempt, 4)) * random.uniform(0.5, 1.0)


class Listener(Protocol):
    """Takes the log as it comes in, beside the clients, while it is read. The log waits for it."""

    async def hear(self, notifications: Sequence[Notification]) -> None:
        """Take the notifications that follow those before."""

    def log_has_hole(self) -> None:
        """Take note of a hole in the log."""


class Upstream:
    """Follows the server's log through every outage. Each event goes into the ring, then to the clients.

    It does so only on demand: a server whose gateways follow nothing need not read its log.
    """

    def __init__(
        self,
        channel: grpc.aio.Channel,
        fanout: Fanout,
        metrics: NotificationMetrics,
        *,
        ring_capacity: int,
        ring_bytes: int,
        linger: float,
    ) -> None:
        """The ring keeps at most `ring_capacity` notifications and `ring_bytes` bytes of them.

        The log is followed for `linger` seconds after the last client has left.
        """
        self._service = NotificationServiceStub(channel)
        self._fanout = fanout
        self._metrics = metrics
        self._ring_capacity = ring_capacity
        self._ring_bytes = ring_bytes
        self.listeners: list[Listener] = []
        self._ring: Ring | None = None
        loop = asyncio.get_running_loop()
        # Done when the ring has reached the head that the log had at the first client's coming; a new one for each time
        # that the log is followed again.
        self.caught_up: asyncio.Future[Ring] = loop.create_future()
        self.demand = Demand(self._wake, self._sleep, linger=linger)
        self._awake = asyncio.Event()
        self._awake_since = 0.0
        self._young_until = loop.time() + COMING_BACK
        self._following: asyncio.Task[NoReturn] | None = None
        self._log_readers = asyncio.Semaphore(_LOG_READERS)
        self._pauses = back_off()
        self._connected = True  # assumed, so that a failure of the first attempt is logged as a loss

    def head(self) -> Cursor | None:
        """Return the head of the ring; None while the log is not followed, or the server has not answered yet."""
        return self._ring.head if self._ring else None

    def note_server(self, problem: str | None) -> None:
        """Take note of what another call to the server found. While the log is not followed, only this tells."""
        if not self._awake.is_set():
            self._set_connected(problem is None, problem or "")

    async def until_present(self) -> None:
        """Wait for the ring to reach the present, but not long after the first client's coming."""
        loop = asyncio.get_running_loop()
        await asyncio.wait([self.caught_up], timeout=max(0.0, self._awake_since + PATIENCE - loop.time()))

    async def run(self) -> NoReturn:
        """Follow the log while there is demand."""
        while True:
            await self._awake.wait()
            if not self._awake.is_set():
                continue  # the client is gone already
            self._following = asyncio.create_task(self._follow_through_outages())
            try:
                await asyncio.wait([self._following])
            finally:
                self._following.cancel()
            if not self._following.cancelled():
                self._following.result()

    def _wake(self) -> None:
        self._awake_since = asyncio.get_running_loop().time()
        self._pauses = back_off()
        self._awake.set()

    def _sleep(self) -> None:
        """Stop in the same step of the event loop, so that the next client finds the present not reached."""
        self._awake.clear()
        if self._ring:
            self._ring = None
            for listener in self.listeners:
                listener.log_has_hole()
        if self.caught_up.done():
            self.caught_up = asyncio.get_running_loop().create_future()
        if self._following:
            self._following.cancel()

    async def _follow_through_outages(self) -> NoReturn:
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
            self._ring = self._new_ring(await self.head_of_server())
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

    def _new_ring(self, target: Cursor) -> Ring:
        """Return a ring that begins at the present, or before it when clients may have missed what lies behind it.

        Soon after a start these are the clients of the gateway before, and later those that came before the server did.
        """
        now = asyncio.get_running_loop().time()
        reaches_back = now < self._young_until or now > self._awake_since + PATIENCE
        past = self._ring_capacity if reaches_back else 0
        start = target._replace(seq=max(0, target.seq - past))
        return Ring(start, target, self._ring_capacity, self._ring_bytes)

    async def _publish(self, ring: Ring, response: SubscribeResponse) -> None:
        cursor = Cursor.parse(response.cursor)
        if response.reset:
            reason = ResetReason.Name(response.reset_reason)
            log.warning("upstream.reset", held=str(ring.head), now=str(cursor), reason=reason)
            await self._fanout.settle()
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
                    await self._fanout.publish(piece)
                for listener in self.listeners:
                    await listener.hear(batch[-len(news) :])
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
