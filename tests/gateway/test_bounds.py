"""An address has as many subscriptions and connections as it may have; the next one is refused for some seconds."""

import asyncio
import random
import re
from collections.abc import Mapping
from contextlib import AsyncExitStack

import aiohttp
import pytest

from tests.compatibility.hubs.wire import HANDSHAKE, Hub, negotiate
from tests.support.network.http_client import Answer, Client
from tests.support.service.gateway import running_gateway
from tests.support.waiting import eventually

PAGES = "/thumbnailHub"
MOST = 3


async def test_pages_and_hub_clients_share_a_number_and_make_room_however_they_end(server: str) -> None:
    chance = random.Random(1)
    async with running_gateway(server, subscriptions_of_address=MOST) as http:
        client = Client(http)

        async def page(stack: AsyncExitStack) -> bool:
            answer = await stack.enter_async_context(http.get("/api/notifications"))
            return _is_served(answer.status, answer.headers)

        async def events_of_hub(stack: AsyncExitStack) -> bool:
            token = (await negotiate(http, PAGES))["connectionToken"]
            headers = {"Accept": "text/event-stream"}
            answer = await stack.enter_async_context(http.get(PAGES, params={"id": token}, headers=headers))
            return _is_served(answer.status, answer.headers)

        async def polls_of_hub(stack: AsyncExitStack) -> bool:
            token = (await negotiate(http, PAGES))["connectionToken"]
            answer = await stack.enter_async_context(http.get(PAGES, params={"id": token}))
            stack.push_async_callback(client.http.delete, PAGES, params={"id": token})
            return _is_served(answer.status, answer.headers)

        async def socket(stack: AsyncExitStack) -> bool:
            try:
                hub = await stack.enter_async_context(Hub.opened(http, PAGES))
            except aiohttp.WSServerHandshakeError as refused:
                return _is_served(refused.status, refused.headers)
            await hub.send(HANDSHAKE)
            return True

        openers = [page, events_of_hub, polls_of_hub, socket]
        for opener in (*openers, chance.choice(openers), chance.choice(openers)):
            async with AsyncExitStack() as stack:

                async def one_more() -> bool:
                    return await chance.choice(openers)(stack)

                for _ in range(MOST):
                    await eventually(one_more, 60)
                assert not await opener(stack)
        assert int((re.findall(r'refused_total\{kind="subscriptions"\} (\d+)', await _metrics(client)))[0]) >= 6


async def test_a_gateway_has_as_many_connections_to_hubs_as_it_may_have_however_they_begin(server: str) -> None:
    async with running_gateway(server, subscriber_limit=1) as http:
        client = Client(http)
        socket, events, polled = [(await negotiate(http, PAGES))["connectionToken"] for _ in range(3)]
        async with http.ws_connect(PAGES) as first:
            hub = Hub(first)
            await hub.send(HANDSHAKE)
            assert await hub.message() == {}
            for address in (PAGES, f"{PAGES}?id={socket}"):
                with pytest.raises(aiohttp.WSServerHandshakeError, match="503"):
                    await http.ws_connect(address)
            stream = {"Accept": "text/event-stream"}
            assert (await client.get(f"{PAGES}?id={events}", headers=stream)).status == 503
            assert (await client.get(f"{PAGES}?id={polled}")).status == 503
            refused = await client.post(f"{PAGES}/negotiate?negotiateVersion=1")
            assert (refused.status, refused.headers["Retry-After"]) == (503, "1")

        async def has_room() -> bool:
            return (await client.get(f"{PAGES}?id={polled}")).status == 200

        await eventually(has_room)


def _is_served(status: int, headers: Mapping[str, str] | None) -> bool:
    if status == 429:
        assert headers
        assert headers["Retry-After"] == "5"
        return False
    assert status == 200, status
    return True


async def _metrics(client: Client) -> str:
    return (await client.get("/metrics")).text


async def test_calls_that_wait_have_a_number_too_and_make_room_when_their_callers_hang_up(server: str) -> None:
    async with running_gateway(server, waiting_calls_of_address=MOST) as http:
        client = Client(http)
        job = {"modelId": 1, "modelHash": "a" * 64, "delay": "3600s"}
        path = f"/api/thumbnail-jobs/{(await client.post('/api/thumbnail-jobs', job)).json['jobId']}"

        async def poll(seconds: float) -> Answer:
            return await client.post("/api/thumbnail-jobs/dequeue", {"workerId": "w", "wait": f"{seconds}s"})

        waiting = [asyncio.create_task(client.get(f"{path}?wait=30s")) for _ in range(MOST - 1)]
        waiting.append(asyncio.create_task(poll(30)))

        async def are_waiting() -> bool:
            return f"long_polls {MOST}.0" in await _metrics(client)

        await eventually(are_waiting, 60)
        for answer in (await client.get(f"{path}?wait=30s"), await poll(30)):
            assert not _is_served(answer.status, answer.headers)
            assert "THUMBQ_WAITING_CALLS_OF_ADDRESS" in answer.text
        assert (await client.get(path)).status == 200
        for call in waiting:
            call.cancel()

        async def has_room() -> bool:
            return (await poll(0.05)).status == 204

        await eventually(has_room, 60)


async def test_one_connection_more_is_answered_429_before_it_sends_anything(server: str) -> None:
    async with running_gateway(server, connections_of_address=MOST) as http:
        base = http._base_url
        assert base is not None

        async def connect() -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
            return await asyncio.open_connection(base.host, base.port)

        opened = [await connect() for _ in range(MOST)]
        reader, one_more = await connect()
        answer = (await reader.read()).decode()
        assert answer.startswith("HTTP/1.1 429 ")
        assert "Retry-After: 5\r\n" in answer
        assert "has 3 connections, as many as it may have (THUMBQ_CONNECTIONS_OF_ADDRESS)" in answer
        for writer in (one_more, *(writer for _, writer in opened)):
            writer.close()
            await writer.wait_closed()

        async def is_served() -> bool:
            async with http.get("/healthz") as health:
                return health.status == 200

        await eventually(is_served, 60)
        assert re.search(r'refused_total\{kind="connections"\} [1-9]', await _metrics(Client(http)))


async def test_the_connections_of_a_trusted_proxy_are_not_counted(server: str) -> None:
    async with (
        running_gateway(server, connections_of_address=1, trusted_proxies="127.0.0.1") as http,
        AsyncExitStack() as stack,
    ):
        for _ in range(MOST):
            answer = await stack.enter_async_context(http.get("/api/notifications"))
            assert answer.status == 200
