"""Clients of a hub that read slowly, or not at all, and calls that take long."""

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import pytest

from tests.compatibility.hubs.wire import HANDSHAKE, Hub, negotiate
from tests.gateway.notifications.test_slow_clients import count_of, rest_of
from tests.support.network.http_client import Client
from tests.support.service.gateway import running_gateway
from tests.support.waiting import eventually
from thumbq_gateway.metrics import Metrics
from thumbq_gateway.notifications.demand import Demand
from thumbq_gateway.signalr import wing
from thumbq_gateway.signalr.connection import Connection
from thumbq_gateway.signalr.connections import Connections
from thumbq_gateway.signalr.hubs.hub import Hub as Methods
from thumbq_gateway.signalr.outlets import EventStreamOutlet, Outlet, PollOutlet
from thumbq_gateway.signalr.protocol import Record
from thumbq_gateway.signalr.rights import Rights
from thumbq_runtime.limits.bounds import Bounds
from thumbq_runtime.limits.rates import Kind

_FRAME = b"\x81\xfe%b\x00\x00\x00\x00%b"


def masked(*messages: object) -> bytes:
    """A WebSocket frame of a client, with a mask that changes nothing."""
    payload = "".join(json.dumps(message) + "\x1e" for message in messages).encode()
    return _FRAME % (len(payload).to_bytes(2), payload)


async def test_a_page_that_does_not_read_is_cut_off_and_delays_no_other(server: str) -> None:
    async with running_gateway(server, subscriber_buffer=1_000) as http:
        client = Client(http)
        token = (await negotiate(http, "/thumbnailHub"))["connectionToken"]
        assert http._base_url is not None
        loop = asyncio.get_running_loop()
        with socket.socket() as lazy:
            lazy.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1_024)
            lazy.setblocking(False)
            await loop.sock_connect(lazy, (http._base_url.host, http._base_url.port))
            request = (
                f"GET /thumbnailHub?id={token} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
            )
            join = {"type": 1, "target": "JoinAllModelsGroup", "arguments": []}
            await loop.sock_sendall(lazy, request.encode() + masked(HANDSHAKE, join))
            while b"{}\x1e" not in await loop.sock_recv(lazy, 1_000):
                pass
            async with Hub.connected(http, "/thumbnailHub") as page:
                await page.call("JoinAllModelsGroup")
                announced = 0
                while not await count_of(client, 'cut_off_total{reason="unread"}'):
                    assert announced < 50_000, "it was never cut off"
                    model_ids = list(range(announced + 1, announced + 2_001))
                    await client.enqueue_many(model_ids)
                    heard = [(await page.event("ThumbnailStatusChanged"))["modelId"] for _ in model_ids]
                    assert heard == model_ids
                    announced += len(model_ids)
            with contextlib.suppress(ConnectionError):
                assert (await rest_of(lazy)).count(b"ThumbnailStatusChanged") < announced


async def test_a_page_that_reads_slowly_gets_all_that_joining_tells(server: str) -> None:
    """More than the buffer holds, which would cut off a client that does not read."""
    async with running_gateway(server, subscriber_buffer=2_000) as http:
        client = Client(http)
        await client.enqueue_many(range(1, 3_001))
        await client.announce_and_arrive(3_001)
        async with Hub.connected(http, "/thumbnailHub") as page:
            told = await page.call("JoinAllModelsGroup")
            assert [message["arguments"][0]["modelId"] for message in told] == list(range(1, 3_002))


async def test_a_client_that_polls_no_more_is_forgotten(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wing, "SHORTEST_PATIENCE", 0.6)
    async with running_gateway(server, heartbeat=0.3) as http:
        client = Client(http)

        async def polls() -> str | None:  # a busy machine may be silent for so long itself
            token: str = (await negotiate(http, "/thumbnailHub"))["connectionToken"]
            return token if (await client.get(f"/thumbnailHub?id={token}")).status == 200 else None

        token = await eventually(polls)
        await client.post(f"/thumbnailHub?id={token}", HANDSHAKE)

        async def is_forgotten() -> bool:
            return not await count_of(client, 'hub_connections{hub="/thumbnailHub"}')

        await eventually(is_forgotten)
        assert (await client.post(f"/thumbnailHub?id={token}")).status == 404


def connection_with(outlet: Outlet, admit: Callable[[], Awaitable[Any]]) -> Connection:
    """A connection to a hub without methods. Most of an answer is read when at most 500 bytes are unread."""
    place = Bounds({Kind.SUBSCRIPTIONS: 1}, lambda *_: None).take("caller", Kind.SUBSCRIPTIONS)
    hub = Methods("/thumbnailHub", {})
    return Connection("1", hub, outlet, place, admit, Metrics(None).hubs, 1_000, Rights(None, None))


async def test_a_client_is_there_while_its_calls_are_carried_out_one_by_one() -> None:
    outlet, admitted = PollOutlet(None), asyncio.Semaphore(0)
    connection = connection_with(outlet, admitted.acquire)
    call = {"type": 1, "invocationId": "1", "target": "JoinModelGroup", "arguments": ["42"]}
    delivery = "".join(json.dumps(message) + "\x1e" for message in [HANDSHAKE, call, call, call])

    async def has_answered(count: int) -> bool:
        return len(outlet.records) == count

    async with asyncio.TaskGroup() as group:
        group.create_task(connection.take(delivery))
        await eventually(partial(has_answered, 1))
        for count in (2, 3, 4):
            heard_before = connection.heard_at
            admitted.release()
            await eventually(partial(has_answered, count))
            assert connection.heard_at > heard_before


@asynccontextmanager
async def long_answer() -> AsyncIterator[tuple[Connection, socket.socket]]:
    """A connection that waits until most of an answer is read, and the socket on which its client reads."""
    loop = asyncio.get_running_loop()
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)
    transport, _ = await loop.create_connection(asyncio.Protocol, sock=ours)
    connection = connection_with(EventStreamOutlet(transport), asyncio.Event().wait)
    connection.send(Record("x" * (1 << 22)))
    waiting = asyncio.create_task(connection.drained())
    try:
        yield connection, theirs
        await waiting
    finally:
        waiting.cancel()
        transport.abort()
        theirs.close()


async def test_a_client_is_there_for_as_long_as_it_reads_an_answer() -> None:
    loop = asyncio.get_running_loop()
    async with long_answer() as (connection, page):

        async def is_heard_again(heard_before: float) -> bool:
            await loop.sock_recv(page, 1 << 16)
            return connection.heard_at > heard_before

        for _ in range(3):
            await eventually(partial(is_heard_again, connection.heard_at))
        while connection.outlet.unread:
            await loop.sock_recv(page, 1 << 16)


async def test_a_client_that_reads_nothing_of_an_answer_is_cut_off() -> None:
    demand = Demand(lambda: None, lambda: None, linger=0)
    connections = Connections(Metrics(None).hubs, demand, interval=0.1, patience=0.2, limit=1)
    async with long_answer() as (connection, _):
        connections.enter(connection)
        clock = asyncio.create_task(connections.beat())

        async def is_cut_off() -> bool:
            return connection.ended

        await eventually(is_cut_off)
        clock.cancel()
        connections.leave(connection)
        demand.end()
