"""Clients that do not read or have lost their network: they delay no other client, and can resume later."""

import asyncio
import contextlib
import ctypes
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import pytest

from tests.support.network.http_client import Client, Listener
from tests.support.service.gateway import running_gateway
from tests.support.waiting import eventually
from thumbq_gateway.notifications import catch_up


@asynccontextmanager
async def lazy_page(http: aiohttp.ClientSession, query: str = "") -> AsyncIterator[tuple[socket.socket, bytearray]]:
    """Connect a page with a small receive buffer. Yields its socket, and the bytes that it has read."""
    assert http._base_url is not None
    loop = asyncio.get_running_loop()
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1_024)
        connection.setblocking(False)
        await loop.sock_connect(connection, (http._base_url.host, http._base_url.port))
        await loop.sock_sendall(connection, f"GET /api/notifications?{query} HTTP/1.0\r\nHost: x\r\n\r\n".encode())
        read = bytearray()
        while b"\n\n" not in read:
            read += await loop.sock_recv(connection, 100)
        yield connection, read


async def rest_of(connection: socket.socket) -> bytes:
    """Read until the connection ends."""
    rest = b""
    with contextlib.suppress(ConnectionResetError):
        while more := await asyncio.wait_for(asyncio.get_running_loop().sock_recv(connection, 65_536), 30):
            rest += more
    return rest


def last_whole_id(stream: bytes) -> str:
    """Return the id of the last complete frame, which a browser would send in Last-Event-ID."""
    frames = stream.decode().replace("\r\n\r\n", "\n\n").split("\n\n")[:-1]
    return next(line[4:] for frame in reversed(frames) for line in frame.split("\n") if line.startswith("id: "))


async def count_of(client: Client, sample: str) -> float:
    for line in (await client.get("/metrics")).text.splitlines():
        if line.startswith(f"thumbq_gateway_{sample} "):
            return float(line.rpartition(" ")[2])
    raise LookupError(sample)


async def test_a_client_that_does_not_read_is_cut_off_delays_nobody_and_goes_on_where_it_was(server: str) -> None:
    async with running_gateway(server, subscriber_buffer=1_000) as http:
        client = Client(http)
        async with lazy_page(http, "after=earliest") as (lazy, read), client.listen() as page:
            announced = 0
            while not await count_of(client, 'cut_off_total{reason="unread"}'):
                assert announced < 50_000, "it was never cut off"
                model_ids = range(announced + 1, announced + 5_001)
                await client.enqueue_many(model_ids)
                assert await page.models(len(model_ids)) == list(model_ids)
                announced += len(model_ids)
            cursor = last_whole_id(bytes(read) + await rest_of(lazy))
        seen = int(cursor.rpartition("-")[2])
        assert 0 < seen < announced
        async with client.listen(**{"Last-Event-ID": cursor}) as again:
            assert await again.models(announced - seen) == list(range(seen + 1, announced + 1))


async def test_a_client_that_does_not_read_its_past_is_cut_off_and_delays_nobody(
    server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(catch_up, "_WRITE_TIMEOUT", 1.0)
    async with running_gateway(server) as http:
        client = Client(http)
        for batch in range(5):
            await client.enqueue_many(range(5_000 * batch + 1, 5_000 * (batch + 1) + 1))
        await client.announce_and_arrive(30_000)
        async with lazy_page(http, "after=earliest"):
            # A busy machine takes half a minute until the page has what its socket holds.
            assert await eventually(lambda: count_of(client, 'cut_off_total{reason="stalled"}'), 180)
            monkeypatch.undo()
            async with client.listen("after=earliest") as page:
                assert await page.models(25_000) == list(range(1, 25_001))


async def test_a_gateway_that_stops_does_not_wait_for_clients_that_do_not_read(server: str) -> None:
    async with contextlib.AsyncExitStack() as outside, contextlib.AsyncExitStack() as inside:
        http = await inside.enter_async_context(running_gateway(server))
        client = Client(http)
        for batch in range(5):
            await client.enqueue_many(range(5_000 * batch + 1, 5_000 * (batch + 1) + 1))
        await client.announce_and_arrive(30_000)
        lazy, _ = await outside.enter_async_context(lazy_page(http, "after=earliest"))
        live, _ = await outside.enter_async_context(lazy_page(http))
        async with asyncio.timeout(catch_up._WRITE_TIMEOUT / 2):
            await inside.aclose()
        await rest_of(lazy)
        await rest_of(live)


def go_silent(connection: socket.socket) -> None:
    """Drop every packet that arrives for the socket, as if its cable were unplugged."""
    instructions = ctypes.create_string_buffer(
        struct.pack("HBBI", 0x06, 0, 0, 0)
    )  # BPF program "return 0": keep no byte
    program = struct.pack("HL", 1, ctypes.addressof(instructions))
    attach_filter = 26
    connection.setsockopt(socket.SOL_SOCKET, attach_filter, program)


@pytest.mark.parametrize("query", ["", "modelId=1", "queue=true"])
async def test_a_client_that_is_gone_without_a_word_is_forgotten(server: str, query: str) -> None:
    async with running_gateway(server, heartbeat=0.15, subscriber_timeout=0.5) as http:
        client = Client(http)
        async with lazy_page(http, query) as (gone, _), client.listen() as page:
            go_silent(gone)

            async def is_forgotten() -> bool:
                return await count_of(client, "subscribers") == 1

            assert await eventually(is_forgotten)
            await client.announce(1)
            assert await page.models(1) == [1]


async def test_more_clients_than_there_may_be_are_told_when_to_come_back(server: str) -> None:
    async with running_gateway(server, subscriber_limit=2) as http:
        client = Client(http)
        async with client.listen() as page, client.listen():
            answers = [await client.get("/api/notifications") for _ in range(8)]
            assert {answer.status for answer in answers} == {503}
            assert all(5 <= int(answer.headers["Retry-After"]) <= 15 for answer in answers)
            assert len({answer.headers["Retry-After"] for answer in answers}) > 1
            assert answers[0].json["status"] == "UNAVAILABLE"
            assert await count_of(client, "turned_away_total") == 8
            assert (await client.get("/readyz")).status == 200
            await client.announce(1)
            assert await page.models(1) == [1]

        async def is_taken() -> Listener | None:
            async with http.get("/api/notifications") as response:
                return Listener(response) if response.status == 200 else None

        assert await eventually(is_taken)
