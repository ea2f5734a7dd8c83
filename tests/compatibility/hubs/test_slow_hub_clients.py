"""Clients of a hub that do not read: they are cut off, and delay no other."""

import asyncio
import contextlib
import json
import socket

from tests.compatibility.hubs.wire import HANDSHAKE, Hub, negotiate
from tests.gateway.notifications.test_slow_clients import count_of, rest_of
from tests.support.network.http_client import Client
from tests.support.service.gateway import running_gateway
from tests.support.waiting import eventually

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


async def test_a_client_that_polls_no_more_is_forgotten(server: str) -> None:
    async with running_gateway(server, heartbeat=0.3) as http:
        client = Client(http)

        async def polls() -> str | None:  # a busy machine may be silent for so long itself
            token: str = (await negotiate(http, "/thumbnailHub"))["connectionToken"]
            return token if (await client.get(f"/thumbnailHub?id={token}")).status == 200 else None

        token = await eventually(polls)
        await client.post(f"/thumbnailHub?id={token}", HANDSHAKE)
        while (await client.post(f"/thumbnailHub?id={token}")).status != 404:
            await asyncio.sleep(1)  # longer than two heartbeats, so that it is silent in between
