"""An application behind a gateway, with rules of its own for pages of other origins."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
from aiohttp import web

LARGE = b"0123456789" * 300_000
# The origin whose pages the application lets in.
PARTNER = "https://partner.example"


async def echo(request: web.Request) -> web.Response:
    return web.json_response({"path": request.raw_path, **request.headers})


async def talk(request: web.Request) -> web.WebSocketResponse:
    socket = web.WebSocketResponse()
    await socket.prepare(request)
    async for message in socket:
        if message.type is aiohttp.WSMsgType.TEXT:
            await socket.send_bytes(LARGE)
    return socket


async def private(_request: web.Request) -> web.Response:
    return web.Response(status=403, text="Sign in first.")


async def own_rules(request: web.Request) -> web.Response:
    allowed = {"Access-Control-Allow-Origin": PARTNER, "X-Method": request.method}
    return web.Response(status=204, headers=allowed)


@asynccontextmanager
async def application() -> AsyncIterator[str]:
    """Run the application. Yields its address."""
    app = web.Application()
    app.router.add_get("/talk", talk)
    app.router.add_get("/private", private)
    app.router.add_route("*", "/own-rules", own_rules)
    app.router.add_route("*", "/{path:.*}", echo)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()
