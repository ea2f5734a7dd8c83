"""A gateway in front of an application: requests for other paths are passed on unchanged."""

import asyncio
import gzip
import hashlib
import io
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from structlog.testing import capture_logs

from tests.support.network.http_client import Client, ask
from tests.support.service.gateway import running_gateway

LARGE = b"0123456789" * 300_000


@asynccontextmanager
async def application() -> AsyncIterator[str]:
    """Something like the web application of Modelibr; its address."""
    may_go_on = asyncio.Event()

    async def echo(request: web.Request) -> web.Response:
        body = await request.read()
        told = {
            "method": request.method,
            "path": request.raw_path,
            "size": len(body),
            "digest": hashlib.sha256(body).hexdigest(),
            **request.headers,
        }
        return web.json_response(
            told, status=207, headers={"X-Of-Application": "1", "Connection": "X-Hop", "X-Hop": "1"}
        )

    async def large(_request: web.Request) -> web.Response:
        return web.Response(body=io.BytesIO(LARGE), headers={"Content-Disposition": 'attachment; filename="a.glb"'})

    async def slowly(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        await response.write(b"data: 1\n\n")
        await may_go_on.wait()
        await response.write(b"data: 2\n\n")
        return response

    async def go_on(_request: web.Request) -> web.Response:
        may_go_on.set()
        return web.Response()

    async def talk(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(protocols=["chat"])
        await socket.prepare(request)
        async for message in socket:
            if message.data == "end":
                await socket.close(code=4000)
            elif message.type is aiohttp.WSMsgType.TEXT:
                await socket.send_str(message.data.upper())
            else:
                await socket.send_bytes(message.data[::-1])
        return socket

    async def moved(_request: web.Request) -> web.Response:
        raise web.HTTPFound("/elsewhere")

    app = web.Application(client_max_size=10_000_000)
    app.router.add_get("/models/42/file", large)
    app.router.add_get("/stream", slowly)
    app.router.add_get("/talk", talk)
    app.router.add_get("/moved", moved)
    app.router.add_post("/go-on", go_on)
    app.router.add_route("*", "/{path:.*}", echo)
    runner = web.AppRunner(app, auto_decompress=False)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


@pytest.fixture
async def in_front(server: str) -> AsyncIterator[Client]:
    async with application() as address, running_gateway(server, upstream=address) as http:
        yield Client(http)


async def test_what_is_not_known_is_passed_on_with_its_method_query_and_body(in_front: Client) -> None:
    answer = await ask(
        in_front.http, "PUT", "/models/a%2Fb/tags?c=%26&d", data=io.BytesIO(b"tags"), headers={"X-Mine": "1"}
    )
    assert (answer.status, answer.headers["X-Of-Application"], "X-Hop" in answer.headers) == (207, "1", False)
    told = answer.json
    assert (told["method"], told["path"], told["size"]) == ("PUT", "/models/a%2Fb/tags?c=%26&d", 4)
    assert (told["X-Mine"], told["X-Forwarded-For"], told["X-Forwarded-Proto"]) == ("1", "127.0.0.1", "http")


async def test_the_queue_s_own_routes_stay_its_own(in_front: Client) -> None:
    await in_front.enqueue(42)
    assert (await in_front.dequeue())["modelId"] == 42
    assert (await in_front.get("/health")).text == "Healthy"
    assert (await in_front.get("/")).status == 207


async def test_pictures_are_the_application_s_where_the_gateway_has_no_place_for_them(in_front: Client) -> None:
    for path in ("/models/42/thumbnail/file", "/model-versions/7/thumbnail/file"):
        assert (await in_front.get(path)).json["path"] == path
    sent = await in_front.post("/models/42/thumbnail/upload?versionId=7", data=b"a picture")
    assert (sent.status, sent.json["path"], sent.json["size"]) == (207, "/models/42/thumbnail/upload?versionId=7", 9)
    assert (await in_front.get("/models/42/thumbnail")).json["status"] == "Pending"


async def test_pictures_are_the_queue_s_own_where_it_has_a_place_for_them(server: str, thumbnail_root: Path) -> None:
    async with (
        application() as address,
        running_gateway(server, upstream=address, thumbnail_root=thumbnail_root) as http,
    ):
        assert (await Client(http).get("/models/42/thumbnail/file")).status == 404
        assert (await Client(http).post("/models/42/thumbnail/upload", data=b"no picture")).status == 400


async def test_bodies_of_any_size_and_headers_come_through(in_front: Client) -> None:
    answer = await in_front.get("/models/42/file")
    assert (answer.body, answer.headers["Content-Disposition"]) == (LARGE, 'attachment; filename="a.glb"')
    sent = await ask(in_front.http, "POST", "/files", data=io.BytesIO(LARGE))
    assert sent.json["size"] == len(LARGE)
    assert (await ask(in_front.http, "HEAD", "/models/42/file")).headers["Content-Length"] == str(len(LARGE))


@pytest.mark.parametrize("encoding", ["gzip", "br", "zstd", "gzip, br", "unknown"])
async def test_a_compressed_body_is_passed_on_as_it_comes(in_front: Client, encoding: str) -> None:
    body = gzip.compress(LARGE)
    headers = {"Content-Encoding": encoding}
    sent = await ask(in_front.http, "POST", "/files", data=io.BytesIO(body), headers=headers, compress=False)
    told = sent.json
    assert (told["digest"], told["Content-Encoding"]) == (hashlib.sha256(body).hexdigest(), encoding)


async def test_an_answer_is_passed_on_as_it_comes(in_front: Client) -> None:
    async with in_front.http.get("/stream") as stream:
        assert await stream.content.readuntil(b"\n\n") == b"data: 1\n\n"
        await in_front.post("/go-on")
        assert await stream.content.readuntil(b"\n\n") == b"data: 2\n\n"


async def test_websockets_come_through_with_their_close(in_front: Client) -> None:
    async with in_front.http.ws_connect("/talk", protocols=["chat"]) as socket:
        assert socket.protocol == "chat"
        await socket.send_str("hello")
        assert await socket.receive_str() == "HELLO"
        await socket.send_bytes(b"\x01\x02")
        assert await socket.receive_bytes() == b"\x02\x01"
        await socket.send_str("end")
        assert (await socket.receive()).type is aiohttp.WSMsgType.CLOSE
        assert socket.close_code == 4000


async def test_a_redirect_is_the_browser_s_to_follow(in_front: Client) -> None:
    answer = await ask(in_front.http, "GET", "/moved", allow_redirects=False)
    assert (answer.status, answer.headers["Location"]) == (302, "/elsewhere")


async def test_an_application_that_is_away_is_502(server: str) -> None:
    async with running_gateway(server, upstream="http://127.0.0.1:1") as http:
        answer = await Client(http).get("/anything")
    assert (answer.status, answer.json["status"]) == (502, "UNAVAILABLE")


async def test_an_answer_that_cannot_be_passed_on_is_502_and_leaves_no_address_in_the_log(server: str) -> None:
    async def answer_nonsense(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"no HTTP\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(answer_nonsense, "127.0.0.1", 0) as behind:
        upstream = f"http://127.0.0.1:{behind.sockets[0].getsockname()[1]}"
        with capture_logs() as lines:
            async with running_gateway(server, upstream=upstream) as http:
                answer = await Client(http).get("/anything?ticket=a-secret")
                with pytest.raises(aiohttp.WSServerHandshakeError, match="502"):
                    await http.ws_connect("/anything?ticket=a-secret")
    assert (answer.status, answer.json["status"]) == (502, "UNAVAILABLE")
    assert not [line for line in lines if line["event"] == "request.broken"]
