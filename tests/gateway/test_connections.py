"""Idle and slow connections, and uploads that nothing reads. Other clients do not notice them."""

import asyncio
import contextlib
import io
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.compatibility.hubs.wire import negotiate
from tests.support.network.http_client import Client
from tests.support.service.gateway import running_gateway
from tests.support.waiting import eventually

POST = b"POST /api/thumbnail-jobs HTTP/1.1\r\nHost: x\r\n"
HALF_A_BODY = POST + b"Content-Length: 100\r\n\r\n" + b'{"modelId": 1'
HALF_REQUESTS = {
    "silence": b"",
    "half a request line": b"GET /heal",
    "half a header": b"GET /healthz HTTP/1.1\r\nHost: x\r\nAccep",
    "no end of the headers": b"GET /healthz HTTP/1.1\r\nHost: x\r\n",
}
SLOW = 2_000


@asynccontextmanager
async def connection(client: Client) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """Open a bare connection to the gateway."""
    base = client.http._base_url
    assert base is not None
    reader, writer = await asyncio.open_connection(base.host, base.port)
    try:
        yield reader, writer
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


async def exchange(client: Client, request: bytes) -> bytes:
    """Send bytes, and return all that comes until the gateway closes the connection."""
    async with connection(client) as (reader, writer):
        writer.write(request)
        async with asyncio.timeout(30):
            return await reader.read()


@pytest.mark.parametrize("sent", HALF_REQUESTS.values(), ids=HALF_REQUESTS)
async def test_a_connection_without_a_whole_request_is_closed(server: str, sent: bytes) -> None:
    async with running_gateway(server, idle_timeout=0.3) as http:
        assert await exchange(Client(http), sent) == b""


async def test_pages_that_connect_at_once_are_connected_while_the_gateway_is_busy(server: str) -> None:
    """Nothing runs in this event loop meanwhile: the kernel keeps them until the gateway comes to it."""
    async with running_gateway(server) as http:
        assert http._base_url is not None
        address = http._base_url.host, http._base_url.port
        with contextlib.ExitStack() as pages:
            for _ in range(1_000):
                pages.enter_context(socket.create_connection(address, timeout=30))


async def test_a_connection_that_does_nothing_after_its_answer_is_closed(server: str) -> None:
    async with running_gateway(server, idle_timeout=1.5) as http:

        async def is_answered_and_closed() -> bool:
            with contextlib.suppress(ConnectionError):  # a busy machine may take longer to read the request
                answer = await exchange(Client(http), b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
                return answer.endswith(b"Healthy")
            return False

        await eventually(is_answered_and_closed)


async def test_half_a_body_is_answered_408_and_the_connection_is_closed(server: str) -> None:
    async with running_gateway(server, body_timeout=0.3) as http:
        answer = await exchange(Client(http), HALF_A_BODY)
        assert answer.startswith(b"HTTP/1.1 408 ")
        assert b'"status":"DEADLINE_EXCEEDED"' in answer
        assert b"The request body did not arrive within 0.3 seconds." in answer


HALF_AN_UPLOAD = (
    b"POST /models/1/thumbnail/upload HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n"
    b"Content-Type: multipart/form-data; boundary=b\r\n\r\n"
    b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.png"\r\n\r\n\x89PNG'
)


async def test_half_an_upload_is_answered_408_and_the_connection_is_closed(server: str, thumbnail_root: Path) -> None:
    async with running_gateway(server, body_timeout=0.3, thumbnail_root=thumbnail_root) as http:
        answer = await exchange(Client(http), HALF_AN_UPLOAD)
        assert answer.startswith(b"HTTP/1.1 408 "), answer


async def test_half_a_message_to_a_hub_is_answered_408_and_the_connection_is_closed(server: str) -> None:
    async with running_gateway(server, body_timeout=0.3) as http:
        client = Client(http)
        address = f"/thumbnailHub?id={(await negotiate(http, '/thumbnailHub'))['connectionToken']}"
        assert (await client.get(address)).status == 200
        head = f"POST {address} HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n"
        answer = await exchange(client, head.encode() + b'{"protocol":')
        assert answer.startswith(b"HTTP/1.1 408 "), answer


async def test_messages_to_a_hub_that_are_too_large_are_answered_413_though_no_length_is_stated(client: Client) -> None:
    address = f"/thumbnailHub?id={(await negotiate(client.http, '/thumbnailHub'))['connectionToken']}"
    assert (await client.get(address)).status == 200
    too_much = io.BytesIO(b"x" * 1_100_000)
    assert (await client.http.post(address, data=pieces_of(too_much))).status == 413


async def pieces_of(file: io.BytesIO) -> AsyncIterator[bytes]:
    while piece := file.read(50_000):
        yield piece


@pytest.mark.parametrize("sent", [b"GET /heal", HALF_A_BODY], ids=["half a line", "half a body"])
async def test_two_thousand_slow_connections_cost_a_good_client_nothing(server: str, sent: bytes) -> None:
    async with running_gateway(server) as http, contextlib.AsyncExitStack() as slow:
        client = Client(http)
        for _ in range(SLOW):
            _, writer = await slow.enter_async_context(connection(client))
            writer.write(sent)
        for model_id in range(1, 101):
            await client.enqueue(model_id)
        async with client.listen("after=earliest") as page:
            assert await page.models(100) == list(range(1, 101))


async def test_bodies_that_stall_lose_their_place_to_one_that_goes_on(server: str) -> None:
    """Thirty clients stop shortly before the end of 4 MiB each, which is more than the room for all bodies."""
    large = b'{"jobs": [' + b" " * (4 * 1024 * 1024 - 100)
    stalled = POST + b"Content-Length: %d\r\n\r\n" % (4 * 1024 * 1024) + large
    async with running_gateway(server) as http, contextlib.AsyncExitStack() as slow:
        client = Client(http)
        readers = []
        for _ in range(30):
            reader, writer = await slow.enter_async_context(connection(client))
            writer.write(stalled)
            await writer.drain()
            readers.append(reader)
        answers = await asyncio.gather(*(reader.read(12) for reader in readers[:10]))
        assert set(answers) == {b"HTTP/1.1 503"}
        await client.enqueue_many(range(1, 5_001))


REFUSED = {
    "too large": b"POST /api/thumbnail-jobs HTTP/1.1",
    "no such path": b"POST /nowhere HTTP/1.1",
    "another method": b"POST /healthz HTTP/1.1",
    "a body where none is read": b"GET /healthz HTTP/1.1",
    "not an id": b"POST /api/thumbnail-jobs/x/complete HTTP/1.1",
}


@pytest.mark.changes_nothing
@pytest.mark.parametrize("line", REFUSED.values(), ids=REFUSED)
async def test_a_refused_upload_of_500_megabytes_is_answered_and_not_received(client: Client, line: bytes) -> None:
    sent = 0
    answer = b""
    async with connection(client) as (reader, writer):
        writer.write(line + b"\r\nHost: x\r\nContent-Length: 500000000\r\n\r\n")
        answer = await reader.readuntil(b"\r\n")
        with contextlib.suppress(ConnectionError):
            while sent < 500_000_000:
                writer.write(bytes(1_000_000))
                await writer.drain()
                sent += 1_000_000
    assert answer.startswith(b"HTTP/1.1 "), answer
    assert sent < 50_000_000


@pytest.mark.changes_nothing
async def test_a_broken_chunk_is_the_clients_fault(client: Client) -> None:
    answer = await exchange(client, POST + b'Transfer-Encoding: chunked\r\n\r\n5\r\n{"mod\r\nZZ\r\n')
    assert answer[8:11] == b" 40", answer


async def test_a_file_is_sent_once_although_a_body_comes_with_the_request(
    client: Client, capfd: pytest.CaptureFixture[str]
) -> None:
    request = b"GET /static/thumbq/index.js HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 8\r\n\r\nhalf"
    async with connection(client) as (reader, writer):
        writer.write(request)
        answer = await reader.readuntil(b"\r\n\r\n")
        writer.write(b"half")
        answer += await reader.read()
    assert answer.startswith(b"HTTP/1.1 200 "), answer
    assert answer.count(b"HTTP/1.1 ") == 1
    shown = capfd.readouterr()
    assert "connection.broken" not in shown.out + shown.err


BROKEN_BODIES = {
    "gzip that is none": b"Content-Encoding: gzip\r\nContent-Length: 6\r\n\r\n\xff\xfe{\x00}\x00",
    "a broken chunk": b'Transfer-Encoding: chunked\r\n\r\n5\r\n{"mod\r\nZZ\r\n',
}


@pytest.mark.changes_nothing
@pytest.mark.parametrize("path", [b"/", b"/static/thumbq/index.js", b"/healthz", b"/api/thumbnail-jobs"])
@pytest.mark.parametrize("body", BROKEN_BODIES.values(), ids=BROKEN_BODIES)
async def test_a_broken_body_that_nothing_reads_is_no_error_of_the_gateway(
    client: Client, capfd: pytest.CaptureFixture[str], path: bytes, body: bytes
) -> None:
    answer = await exchange(client, b"GET %b HTTP/1.1\r\nHost: x\r\nConnection: close\r\n%b" % (path, body))
    assert answer[9:10] in {b"2", b"4"}, answer
    log = capfd.readouterr().out
    assert "connection.broken" not in log
    assert "Traceback" not in log


MALFORMED = b"GET / HTTP/9.z\r\n\r\n"


async def test_malformed_http_costs_one_line(client: Client, capfd: pytest.CaptureFixture[str]) -> None:
    answer = await exchange(client, MALFORMED)
    assert answer.startswith(b"HTTP/1.0 400 "), answer
    line = capfd.readouterr().out
    assert (line.count("request.malformed"), line.count("\n")) == (1, 1), line


async def test_a_flood_of_malformed_http_costs_a_few_lines_a_second(
    client: Client, capfd: pytest.CaptureFixture[str]
) -> None:
    started = time.monotonic()
    sent = 0
    # Until far more was sent than may be logged, however slow the machine is.
    while sent < 20 * (time.monotonic() - started + 2):
        await asyncio.gather(*(exchange(client, MALFORMED) for _ in range(50)))
        sent += 50
    lines = capfd.readouterr().out.splitlines()
    assert all("request.malformed" in line for line in lines), lines
    assert 1 <= len(lines) <= 5 * (time.monotonic() - started + 2)


async def test_the_next_line_says_how_many_were_left_out(client: Client, capfd: pytest.CaptureFixture[str]) -> None:
    lines = ""
    async with asyncio.timeout(60):
        while "left_out=" not in lines:
            await asyncio.gather(*(exchange(client, MALFORMED) for _ in range(50)))
            lines += capfd.readouterr().out
