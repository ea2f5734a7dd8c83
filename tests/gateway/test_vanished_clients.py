"""Clients that are gone before their answer begins are no error of the gateway."""

import asyncio

import pytest
from aiohttp import web
from structlog.testing import capture_logs

from tests.support.waiting import eventually
from thumbq_gateway.http.errors import answer_errors

UPGRADE = (
    b"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)


async def answer_late(runner: web.AppRunner, answering: asyncio.Event) -> None:
    """Ask for an answer at the port of the runner, and hang up before it begins."""
    _, writer = await asyncio.open_connection("127.0.0.1", runner.addresses[0][1])
    writer.write(UPGRADE)
    await answering.wait()
    writer.transport.abort()


@pytest.mark.parametrize("kind", [web.WebSocketResponse, web.StreamResponse])
async def test_an_answer_that_nobody_waits_for_any_more_is_not_logged(kind: type[web.StreamResponse]) -> None:
    answering, over = asyncio.Event(), asyncio.Event()

    async def handler(request: web.Request) -> web.StreamResponse:
        async def is_gone() -> bool:
            return request.transport is None or request.transport.is_closing()

        answering.set()
        try:
            await eventually(is_gone)
            response = kind()
            await response.prepare(request)
            return response
        finally:
            over.set()

    app = web.Application(middlewares=[answer_errors])
    app.add_routes([web.get("/", handler)])
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    with capture_logs() as logs:
        await answer_late(runner, answering)
        await over.wait()
        await runner.cleanup()
    assert logs == []
