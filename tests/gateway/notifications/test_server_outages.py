"""Outages of the servers behind the gateway: pages stay connected and miss nothing."""

import asyncio
from collections.abc import Iterator
from typing import Any

import aiohttp
import grpc
import pytest

from tests.support.network.http_client import Client, Listener
from tests.support.service.gateway import RestartableServer, running_gateway, target_of, two_servers
from tests.support.service.server import running_server
from tests.support.waiting import eventually
from thumbq.v1.notification_pb2 import WatchQueueRequest
from thumbq.v1.notification_pb2_grpc import NotificationServiceStub
from thumbq_gateway.notifications.relays import on_demand
from thumbq_gateway.notifications.relays.on_demand import OnDemand
from thumbq_gateway.notifications.relays.queue_relay import QueueRelay


async def is_ready(client: Client) -> bool:
    return (await client.get("/readyz")).status == 200


async def connected_in_heartbeat(page: Listener) -> bool:
    """Return what the next heartbeat reports."""
    while (frame := await page.frame()).name != "heartbeat":
        assert frame.name in {"", "queue"}
        assert not frame.comments
    connected = frame.data.pop("connected")
    assert isinstance(connected, bool)
    return connected


async def test_pages_stay_through_a_restart_of_the_server_and_miss_nothing(restartable: RestartableServer) -> None:
    async with running_gateway(restartable.address) as http:
        client = Client(http)
        async with client.listen() as page, client.listen("modelId=2") as filtered:
            await client.announce(1)
            assert await page.models(1) == [1]
            await restartable.stop()
            away = await client.post("/api/thumbnail-jobs/dequeue", {"workerId": "w"})
            assert (away.status, away.headers["Retry-After"]) == (503, "1")
            assert away.content_type == "text/plain; charset=utf-8"
            assert (await client.get("/readyz")).status == 503
            await restartable.start()
            await eventually(lambda: is_ready(client))
            await client.announce(2)
            assert await page.models(1) == [2]
            assert await filtered.models(1) == [2]


async def test_a_page_may_come_before_the_server(restartable: RestartableServer) -> None:
    await restartable.stop()
    async with running_gateway(restartable.address, heartbeat=0.15) as http:
        client = Client(http)
        async with client.listen("after=earliest") as page:
            while not (await page.frame()).comments:
                pass
            await restartable.start()
            await eventually(lambda: is_ready(client))
            await client.announce(1)
            assert await page.models(1) == [1]


@pytest.mark.parametrize("query", ["", "modelId=1,2", "progress=true"])
async def test_a_page_without_a_cursor_that_comes_before_the_server_is_told_what_it_may_have_missed(
    restartable: RestartableServer, database_url: str, query: str
) -> None:
    await restartable.stop()
    async with running_gateway(restartable.address) as http:
        client = Client(http)
        async with client.listen(query) as page:
            async with running_server(database_url) as other, running_gateway(other) as other_http:
                await Client(other_http).announce(1)
            await restartable.start()
            reset = await page.event("reset")
            assert reset.data == {"cursor": reset.id, "reason": "UnknownStart"}
            await client.announce(2)
            assert await page.models(1) == [2]


@pytest.mark.parametrize("by_name", [False, True], ids=["addresses", "a name"])
async def test_of_several_servers_the_gateway_follows_one_that_is_there(database_url: str, *, by_name: bool) -> None:
    """Pages notice nothing when the gateway changes to another server: all servers read the same log."""
    async with (
        two_servers(database_url) as servers,
        target_of(servers, by_name=by_name) as target,
        running_gateway(target) as http,
    ):
        client = Client(http)
        async with client.listen() as page, client.listen("status=Ready&modelId=1,2,3,4") as filtered:
            for model_id, server in enumerate(servers * 2, 1):
                await eventually(lambda: is_ready(client))
                await client.announce(model_id)
                assert await page.models(1) == [model_id]
                assert await filtered.models(1) == [model_id]
                await server.stop()
                async with running_server(database_url) as another, running_gateway(another) as other_http:
                    await Client(other_http).announce(100 + model_id)
                assert await page.models(1) == [100 + model_id]
                await server.start()


async def test_who_watches_the_queue_is_told_when_the_server_goes_and_when_it_is_back(
    restartable: RestartableServer,
) -> None:
    """The gateway reports it at once: no heartbeat is due in this test."""
    async with running_gateway(restartable.address, heartbeat=600) as http:
        client = Client(http)
        async with client.listen("queue=true") as page, client.listen("queue=true&modelId=1") as filtered:
            await page.event("queue")
            await filtered.event("queue")
            await restartable.stop()
            assert await connected_in_heartbeat(page) is False
            assert await connected_in_heartbeat(filtered) is False
            async with client.listen("queue=true") as newcomer:
                assert await connected_in_heartbeat(newcomer) is False
                await restartable.start()
                for listener in (page, filtered, newcomer):
                    while not await connected_in_heartbeat(listener):
                        pass  # a heartbeat of the time before may still come


async def test_the_heartbeat_of_who_watches_the_queue_tells_whether_the_server_is_there(
    restartable: RestartableServer,
) -> None:
    async with (
        running_gateway(restartable.address, heartbeat=0.15) as http,
        Client(http).listen("queue=true") as page,
    ):
        for _ in range(3):
            assert await connected_in_heartbeat(page) is True
        await restartable.stop()
        while await connected_in_heartbeat(page):
            pass
        for _ in range(3):
            assert await connected_in_heartbeat(page) is False


async def test_others_get_plain_heartbeats_whatever_the_server_does(restartable: RestartableServer) -> None:
    async with running_gateway(restartable.address, heartbeat=0.15) as http, Client(http).listen() as page:
        await restartable.stop()
        for _ in range(5):
            assert not (await page.frame()).name


async def test_json_lines_say_that_the_server_is_away_too(restartable: RestartableServer) -> None:
    async with running_gateway(restartable.address) as http:
        headers = {"Accept": "application/x-ndjson"}
        async with http.get("/api/notifications?queue=true", headers=headers) as response:
            while b'"queue"' not in await response.content.readline():
                pass
            await restartable.stop()
            assert await response.content.readline() == b'{"event":"heartbeat","data":{"connected":false}}\n'


async def test_a_server_that_stays_away_is_asked_less_and_less_often(
    monkeypatch: pytest.MonkeyPatch, unused_tcp_port: int
) -> None:
    used_up = asyncio.Event()

    def growing() -> Iterator[float]:
        yield from (0.0, 0.0)
        used_up.set()
        yield 3600.0

    monkeypatch.setattr(on_demand, "back_off", growing)
    async with grpc.aio.insecure_channel(f"127.0.0.1:{unused_tcp_port}") as channel:
        watch = NotificationServiceStub(channel).WatchQueue
        problems: list[str | None] = []
        stream = OnDemand(lambda: watch(WatchQueueRequest()), lambda _: None, lambda: None, problems.append, linger=0.0)
        stream.enter()
        await asyncio.wait_for(used_up.wait(), 30)
        stream.end()
    assert len(problems) == 3


async def test_while_the_queue_is_watched_no_other_call_says_that_the_server_is_back(unused_tcp_port: int) -> None:
    """A server that ends answers a call that it has begun, after its streams have ended."""
    notes: list[str | None] = []
    nobody: Any = None
    async with grpc.aio.insecure_channel(f"127.0.0.1:{unused_tcp_port}") as channel:
        relay = QueueRelay(channel, nobody, notes.append, linger=0.0)
        relay.note_server(None)
        relay.enter()
        relay.note_server(None)
        relay.end()
        relay.note_server("away")
    assert notes == [None, "away"]


async def test_a_gateway_that_stops_keeps_no_page_waiting_for_its_server() -> None:
    async with aiohttp.ClientSession() as outside:
        async with running_gateway("127.0.0.1:1") as http:
            response = await outside.get(f"{http._base_url}/api/notifications?after=earliest")
        assert await response.read(), "it would raise, had the stream been broken off"


async def test_a_gateway_that_stops_ends_its_streams_in_order(server: str) -> None:
    async with aiohttp.ClientSession() as outside:
        async with running_gateway(server) as http:
            response = await outside.get(f"{http._base_url}/api/notifications")
        assert await response.read()
