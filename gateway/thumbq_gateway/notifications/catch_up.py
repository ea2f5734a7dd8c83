"""The way of one client from its cursor to the present."""

import asyncio
from collections.abc import Iterable
from typing import Any

import grpc
from aiohttp import web

from thumbq.v1.notification_pb2 import ResetReason
from thumbq_gateway.metrics import CutOff, NotificationMetrics
from thumbq_gateway.notifications.audiences.connection import Connection
from thumbq_gateway.notifications.cursor import Cursor, StartFrom
from thumbq_gateway.notifications.fanout import Fanout
from thumbq_gateway.notifications.framing import reset_data
from thumbq_gateway.notifications.ring import Event, Ring, in_pieces
from thumbq_gateway.notifications.upstream import Upstream, back_off

_WRITE_TIMEOUT = 30.0  # seconds that a client may take for one batch
_BATCH = 128  # events in one write


class CatchUp:
    """Sends one client the events after its cursor: from the server's log, then from the ring; then the client joins.

    Each write waits for the client, so nothing piles up for a slow one. The client joins in the same step of the event
    loop in which the ring holds nothing more for it, so it misses no event in between.
    """

    def __init__(
        self,
        upstream: Upstream,
        fanout: Fanout,
        metrics: NotificationMetrics,
        response: web.StreamResponse,
        connection: Connection,
    ) -> None:
        self._upstream = upstream
        self._fanout = fanout
        self._metrics = metrics
        self._response = response
        self._connection = connection
        self._framing = connection.request.framing
        self._pauses = back_off()

    async def send(self, start: Cursor | StartFrom, *, send_cursor: bool) -> None:
        """Return when the client has joined, or its connection ends.

        `send_cursor`: the client has no cursor yet, so send it first. Raises ConnectionError when the client is gone
        or too slow.
        """
        caught_up, ended = self._upstream.caught_up, self._connection.ended
        either: tuple[asyncio.Future[Any], ...] = (caught_up, ended)
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        if ended.done():
            return
        ring = caught_up.result()
        position = await self._first_position(ring, start)
        if position is not None and send_cursor:
            await self._write(self._framing.cursor(str(position)))
        while not self._connection.is_live and not ended.done():
            position = await self._step(ring, position)

    async def _first_position(self, ring: Ring, start: Cursor | StartFrom) -> Cursor | None:
        """Return the position to start at; None is the beginning of the log."""
        if isinstance(start, Cursor):
            return start
        if start is StartFrom.MALFORMED:
            return await self._reset(ring.head, ResetReason.RESET_REASON_MALFORMED)
        if start is StartFrom.UNKNOWN:
            return await self._reset(ring.first_present, ResetReason.RESET_REASON_UNKNOWN_START)
        # A client that came before the ring had reached the present sees itself connected since then. What happened
        # meanwhile is in the ring already.
        return ring.first_present if start is StartFrom.LATEST else None

    async def _step(self, ring: Ring, position: Cursor | None) -> Cursor | None:
        """Send one batch and return the position after it. At the head, join."""
        if position is None:
            return await self._send_from_log(ring, None) if ring.floor.seq else ring.floor
        if position.epoch != ring.head.epoch or position.seq > ring.head.seq:
            return await self._resolve_unknown(ring, position)
        if position.seq < ring.floor.seq:
            return await self._send_from_log(ring, position)
        if events := ring.after(position.seq, _BATCH):
            position = position._replace(seq=events[-1].seq)
            await self._send(filter(self._connection.request.wants, events), position)
        else:
            self._fanout.join(self._connection)
        return position

    async def _send_from_log(self, ring: Ring, position: Cursor | None) -> Cursor | None:
        try:
            page = await self._upstream.read_page(position, ring.floor, self._connection.request.wants)
        except (TimeoutError, grpc.aio.AioRpcError):
            await asyncio.sleep(next(self._pauses))
            return position
        if page.reset_reason and position is not None:
            return await self._reset(page.cursor, page.reset_reason)
        for piece in in_pieces(page.events):
            await self._send(piece)
        await self._send([], page.cursor)
        return page.cursor

    async def _resolve_unknown(self, ring: Ring, position: Cursor) -> Cursor:
        """Return where to continue from a position that the ring does not know.

        The cursor may come from another gateway, which is ahead of our ring. The server knows whether the position
        exists.
        """
        try:
            now = await self._upstream.head_of_server()
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
        """Send a reset: events are missing, and the client continues at the cursor. Returns the cursor."""
        self._metrics.resets.inc()
        await self._write(self._framing.event("reset", reset_data(cursor, reason), str(cursor)))
        return cursor

    async def _send(self, events: Iterable[Event], position: Cursor | None = None) -> None:
        """Send the events. A filtered client also gets the position, so that it resumes after unwanted events."""
        frames = [self._framing.encoded(event) for event in events]
        self._metrics.delivered.inc(len(frames))
        if position and self._connection.request.is_filtered:
            frames.append(self._framing.cursor(str(position)))
        if frames:
            await self._write(b"".join(frames))

    async def _write(self, frames: bytes) -> None:
        try:
            async with asyncio.timeout(_WRITE_TIMEOUT):
                await self._response.write(frames)
        except TimeoutError:
            self._fanout.cut_off(self._connection, CutOff.STALLED)
            raise ConnectionResetError("the client did not read") from None
