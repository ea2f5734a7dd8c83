"""Uploads that nothing reads, for instance because they are refused. They are not received to their end."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

from aiohttp import web
from aiohttp.typedefs import Middleware

_MOST = 8 << 20  # bytes of an unread body that are received, so that a client that sends first reads its answer later
_PATIENCE = 5.0  # seconds
_PAUSE = 0.002  # seconds between pieces of all, so that senders as fast as this machine leave time for others


def end_uploads() -> Middleware:
    """Return the middleware of one gateway: all its senders take turns."""
    turn = asyncio.Lock()

    @web.middleware
    async def end(
        request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        """Send the response while the body still arrives, and close the connection if the body is long or slow."""
        response = await handler(request)
        if request.content.is_eof():
            return response
        if isinstance(response, web.FileResponse):
            # aiohttp sends a file each time it prepares the response, so this one cannot be sent ahead.
            response.force_close()
        else:
            with suppress(ConnectionError):
                await response.prepare(request)
                await response.write_eof()
                await _receive_rest(request, turn)
            if not request.content.is_eof():
                request.protocol.force_close()
        return response

    return end


async def _receive_rest(request: web.Request, turn: asyncio.Lock) -> None:
    received = 0
    with suppress(TimeoutError, web.RequestPayloadError):
        async with asyncio.timeout(_PATIENCE):
            while received < _MOST and not request.content.at_eof():
                received += len(await request.content.readany())
                async with turn:
                    await asyncio.sleep(_PAUSE)
