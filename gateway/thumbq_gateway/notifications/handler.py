"""GET /api/notifications: what happens, as it happens, to any number of clients."""

import asyncio
import contextlib
import random
import socket
from collections.abc import Iterable
from typing import Any

import grpc
from aiohttp import HttpVersion11, web

from thumbq.v1.notification_pb2 import ResetReason
from thumbq_gateway.http.errors import Refusal, status_response
from thumbq_gateway.metrics import CutOff, Metrics
from thumbq_gateway.notifications.audience import Subscriber
from thumbq_gateway.notifications.fanout import Fanout
from thumbq_gateway.notifications.framing import reset_data
from thumbq_gateway.notifications.queue_relay import QueueWatch
from thumbq_gateway.notifications.request import EARLIEST, LATEST, MALFORMED, Wish, read_wish
from thumbq_gateway.notifications.ring import Cursor, Event, Ring
from thumbq_gateway.notifications.upstream import Upstream, back_off

_HEADERS = {
    "Cache-Control": "no-store, no-transform",
    "X-Accel-Buffering": "no",
    "X-Content-Type-Options": "nosniff",
}
_RETRY = 1_000, 5_000  # milliseconds; spread, so that a restart does not bring everybody back at once
_RETRY_TURNED_AWAY = 5, 15  # seconds
_PATIENCE = 30.0  # seconds that a client may take for one piece of the past
_PATIENCE_WITH_SERVER = 1.0  # seconds until a client is welcomed although the server is away
_PIECE = 128  # notifications of the past in one write


class Notifications:
    """The handler. A connection costs one task, its handler's, and that one sleeps once it has caught up."""

    def __init__(
        self,
        upstream: Upstream,
        fanout: Fanout,
        queue_watch: QueueWatch,
        metrics: Metrics,
        *,
        limit: int,
        timeout: float,
    ) -> None:
        """At most `limit` clients at once; one whose machine answers nothing for `timeout` seconds is forgotten."""
        self._upstream = upstream
        self._fanout = fanout
        self._queue_watch = queue_watch
        self._metrics = metrics
        self._limit = limit
        self._timeout = timeout
        self._clients = 0

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Stays until the client goes, or is cut off, or the gateway stops."""
        wish = read_wish(request)
        if self._clients >= self._limit:
            return self._turn_away()
        self._clients += 1
        try:
            return await self._stream(request, wish)
        finally:
            self._clients -= 1

    def _turn_away(self) -> web.Response:
        self._metrics.turned_away.inc()
        message = "This gateway has as many listeners as it may have. Try again later, or another one."
        response = status_response(Refusal(grpc.StatusCode.UNAVAILABLE, message))
        response.headers["Retry-After"] = str(random.randint(*_RETRY_TURNED_AWAY))
        return response

    async def _stream(self, request: web.Request, wish: Wish) -> web.StreamResponse:
        start = await self._start(wish)
        response = web.StreamResponse(headers={"Content-Type": wish.framing.content_type, **_HEADERS})
        with contextlib.suppress(ConnectionError):
            await response.prepare(request)
            await response.write(wish.framing.opening(random.randint(*_RETRY)))
            await self._serve(request, response, wish, start)
            await response.write_eof()
        return response

    async def _start(self, wish: Wish) -> Cursor | str:
        """Where the client begins. Settled before it is told that it is connected: what follows shall not be missed."""
        if wish.after == LATEST:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_PATIENCE_WITH_SERVER):
                    return (await asyncio.shield(self._upstream.caught_up)).head
        return wish.after

    async def _serve(self, request: web.Request, response: web.StreamResponse, wish: Wish, start: Cursor | str) -> None:
        if request.transport is None:
            return
        _give_up_after(self._timeout, request.transport)
        audience = self._fanout.audience(wish.framing, wish.statuses, chunked=request.version >= HttpVersion11)
        subscriber = Subscriber(request.transport, audience, wish.model_ids, watches_queue=wish.watches_queue)
        self._enter(subscriber)
        try:
            past = Past(self._upstream, self._fanout, self._metrics, response, subscriber)
            await past.send(start, is_news=wish.after == LATEST)
            del past
            await subscriber.ended
        finally:
            self._leave(subscriber)

    def _enter(self, subscriber: Subscriber) -> None:
        self._fanout.enter(subscriber)
        if subscriber.watches_queue:
            self._queue_watch.enter()
            if snapshot := self._queue_watch.latest:
                self._fanout.show_queue(subscriber, snapshot)

    def _leave(self, subscriber: Subscriber) -> None:
        self._fanout.leave(subscriber)
        if subscriber.watches_queue:
            self._queue_watch.leave()


def _give_up_after(seconds: float, transport: asyncio.BaseTransport) -> None:
    """Lets the kernel end a connection whose other end is gone without a word: heartbeats are never acknowledged."""
    connection = transport.get_extra_info("socket")
    if connection is not None and hasattr(socket, "TCP_USER_TIMEOUT"):
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(seconds * 1000))


class Past:
    """Brings one client from its cursor to the present: from the log, then from the ring, then it joins the rest.

    The client sets the pace, so nothing piles up for it; joining happens in the same step as the look at the ring
    that found nothing more, so nothing falls between.
    """

    def __init__(
        self,
        upstream: Upstream,
        fanout: Fanout,
        metrics: Metrics,
        response: web.StreamResponse,
        subscriber: Subscriber,
    ) -> None:
        self._upstream = upstream
        self._fanout = fanout
        self._metrics = metrics
        self._response = response
        self._subscriber = subscriber
        self._framing = subscriber.audience.framing
        self._pauses = back_off()

    async def send(self, start: Cursor | str, *, is_news: bool) -> None:
        """Returns when the client has joined, or shall end; `is_news` says that it does not know where it starts.

        Raises ConnectionError when it is gone or too slow.
        """
        caught_up, ended = self._upstream.caught_up, self._subscriber.ended
        either: tuple[asyncio.Future[Any], ...] = (caught_up, ended)
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        if ended.done():
            return
        ring = caught_up.result()
        if start == MALFORMED:
            start = await self._reset(ring.head, ResetReason.RESET_REASON_MALFORMED)
        position = ring.head if start == LATEST else start if isinstance(start, Cursor) else None
        if position is not None and is_news:
            await self._write(self._framing.cursor(str(position)))
        while not self._subscriber.joined and not ended.done():
            position = await self._step(ring, position)

    async def _step(self, ring: Ring, position: Cursor | None) -> Cursor | None:
        """Sends one piece and returns the position after it; None is before everything. At the present it joins."""
        if position is None:
            return await self._from_log(ring, None) if ring.floor.seq else ring.floor
        if position.epoch != ring.head.epoch or position.seq > ring.head.seq:
            return await self._from_elsewhere(ring, position)
        if position.seq < ring.floor.seq:
            return await self._from_log(ring, position)
        if events := ring.after(position.seq, _PIECE):
            position = position._replace(seq=events[-1].seq)
            await self._send(filter(self._subscriber.wants, events), position)
        else:
            self._fanout.join(self._subscriber)
        return position

    async def _from_log(self, ring: Ring, position: Cursor | None) -> Cursor | None:
        after = EARLIEST if position is None else str(position)
        try:
            page = await self._upstream.page(after, ring.floor, self._subscriber.wants)
        except (TimeoutError, grpc.aio.AioRpcError):
            await asyncio.sleep(next(self._pauses))
            return position
        if page.reset_reason and position is not None:
            return await self._reset(page.cursor, page.reset_reason)
        for start in range(0, len(page.events), _PIECE):
            await self._send(page.events[start : start + _PIECE])
        await self._send([], page.cursor)
        return page.cursor

    async def _from_elsewhere(self, ring: Ring, position: Cursor) -> Cursor:
        """A position that the ring does not know: where it comes from, the news may have come a moment sooner."""
        try:
            now = await self._upstream.now()
        except grpc.aio.AioRpcError:
            now = position
        is_other_log = now.epoch != position.epoch
        is_impossible = is_other_log or now.seq < position.seq
        if is_impossible and now.epoch == ring.head.epoch:
            reason = ResetReason.RESET_REASON_OTHER_LOG if is_other_log else ResetReason.RESET_REASON_FUTURE
            return await self._reset(ring.head, reason)
        await asyncio.sleep(next(self._pauses))
        return position

    async def _reset(self, cursor: Cursor, reason: ResetReason.ValueType) -> Cursor:
        """Says that there is a hole, and where to go on."""
        self._metrics.resets.inc()
        await self._write(self._framing.event("reset", reset_data(cursor, reason), str(cursor)))
        return cursor

    async def _send(self, events: Iterable[Event], position: Cursor | None = None) -> None:
        """A client that filters comes back with the position, so it is told only with the last that is before it."""
        frames = [event.frames[self._framing.index] for event in events]
        self._metrics.delivered.inc(len(frames))
        if position and self._subscriber.is_filtered:
            frames.append(self._framing.cursor(str(position)))
        if frames:
            await self._write(b"".join(frames))

    async def _write(self, frames: bytes) -> None:
        try:
            async with asyncio.timeout(_PATIENCE):
                await self._response.write(frames)
        except TimeoutError:
            self._fanout.cut_off(self._subscriber, CutOff.STALLED)
            raise ConnectionResetError("the client did not read") from None
