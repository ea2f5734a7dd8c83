"""Uploads that nothing reads, for instance because they are refused. They are not received to their end."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

from aiohttp import web

_MOST = 8 << 20  # bytes of an unread body that are received, so that a client that sends first reads its answer later
_PATIENCE = 5.0  # seconds
_PAUSE = 0.002  # seconds between pieces, so that a sender as fast as this machine leaves time for others


@web.middleware
async def end_uploads(
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
            await _receive_rest(request)
        if not request.content.is_eof():
            request.protocol.force_close()
    return response


async def _receive_rest(request: web.Request) -> None:
    received = 0
    with suppress(TimeoutError, web.RequestPayloadError):
        async with asyncio.timeout(_PATIENCE):
            while received < _MOST and not request.content.at_eof():
                received += len(await request.content.readany())
                await asyncio.sleep(_PAUSE)
