"""Peers of the port of the metrics that say little, and slowly: they are few at once, and each has its time."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress

import pytest

from tests.support.waiting import eventually
from thumbq_server.metrics import listener
from thumbq_server.metrics.counters import Counters

BEGINNING = b"GET /metrics HTTP/1.0\r\n"

Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@pytest.fixture
def port() -> Iterator[int]:
    """The port of metrics that everybody may see."""
    counters = Counters()
    counters.admit_only(lambda _key: True)
    with counters.serving("127.0.0.1", 0) as port:
        yield port


@asynccontextmanager
async def connected(port: int, count: int) -> AsyncIterator[list[Connection]]:
    """Connections that have begun a request."""
    connections = [await asyncio.open_connection("127.0.0.1", port) for _ in range(count)]
    try:
        for _, writer in connections:
            writer.write(BEGINNING)
        yield connections
    finally:
        for _, writer in connections:
            writer.transport.abort()


async def said(connection: Connection, rest: bytes) -> bytes:
    """What the server says to the rest of a request, until it closes the connection."""
    reader, writer = connection
    answer = b""
    with suppress(ConnectionError):
        writer.write(rest)
        async with asyncio.timeout(60):
            answer = await reader.read()
    return answer


async def is_shown(port: int) -> bool:
    async with connected(port, 1) as (connection,):
        return b"thumbq_ready" in await said(connection, b"\r\n")


async def test_connections_beyond_the_most_are_closed_at_once_and_their_places_become_free(
    port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A busy machine needs longer to make so many connections.
    monkeypatch.setattr(listener, "LONGEST", 600.0)
    monkeypatch.setattr(listener._Handler, "timeout", 600.0)
    async with connected(port, listener.MOST_CONNECTIONS) as connections, connected(port, 100) as more:
        assert {await said(each, b"") for each in more} == {b""}
        assert b"thumbq_ready" in await said(connections[0], b"\r\n")
        assert await eventually(lambda: is_shown(port))


async def test_a_request_has_its_time_in_whatever_pieces_it_comes(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    assert listener.LONGEST <= 10
    monkeypatch.setattr(listener, "LONGEST", 1.0)

    async def trickle(connection: Connection) -> None:
        _, writer = connection
        with suppress(ConnectionError):
            while True:
                writer.write(b"x")
                await writer.drain()
                await asyncio.sleep(0.1)

    async with connected(port, listener.MOST_CONNECTIONS) as connections:
        trickling = [asyncio.create_task(trickle(each)) for each in connections]
        try:
            assert {await said(each, b"") for each in connections} == {b""}
            assert await eventually(lambda: is_shown(port))
        finally:
            for task in trickling:
                task.cancel()
            await asyncio.gather(*trickling, return_exceptions=True)
