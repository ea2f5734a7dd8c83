"""What is to be called at the end of a response that lasts is called, whatever goes wrong on the way."""

import asyncio

import aiohttp
import pytest
from aiohttp import web

from thumbq_gateway.http.lasting import LastingResponse


def _breaks() -> None:
    raise RuntimeError("one of them breaks")


def test_a_call_that_raises_at_the_end_keeps_no_other_from_its_turn():
    called: list[str] = []
    response = LastingResponse(headers={})
    response.at_end(lambda: called.append("first"))
    response.at_end(_breaks)
    response.at_end(lambda: called.append("last"))
    with pytest.raises(RuntimeError, match="one of them breaks"):
        response.leave()
    assert called == ["last", "first"]
    response.leave()
    assert called == ["last", "first"]


async def test_a_call_that_raises_at_the_end_closes_the_connection():
    left = asyncio.Event()

    async def handle(request: web.Request) -> web.StreamResponse:
        response = LastingResponse(headers={})
        response.at_end(left.set)
        response.at_end(_breaks)
        await response.prepare(request)
        await response.write(b"hello")
        return response

    app = web.Application()
    app.router.add_get("/", handle)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        host, port = runner.addresses[0]
        async with aiohttp.ClientSession() as session, session.get(f"http://{host}:{port}/") as answer:
            with pytest.raises(aiohttp.ClientPayloadError):
                await answer.read()
        await asyncio.wait_for(left.wait(), 30)
    finally:
        await runner.cleanup()
