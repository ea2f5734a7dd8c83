"""Those who watch the server's health: nothing waits for one that does not read, and none costs more than another."""

import asyncio
from contextlib import AsyncExitStack
from typing import Any

import asyncpg
import grpc
import pytest
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import HealthStub

from tests.support.service.server import running_server
from tests.support.waiting import eventually
from tests.wire.hostile.test_rates import COUNTED, seconds_told
from tests.wire.peers.http2 import HEADERS, WINDOW_OF_NOTHING, Peer, call, peer
from thumbq_server.rpc.serving.health import READY
from thumbq_server.storage.postgres.address import parse_address

WATCH_READY = call(1, "/grpc.health.v1.Health/Watch", HealthCheckRequest(service=READY).SerializeToString())
SERVING, NOT_SERVING = HealthCheckResponse.SERVING, HealthCheckResponse.NOT_SERVING


async def watches_unread(silent: Peer) -> None:
    """Watch, and return when the server has something to say."""
    silent.writer.write(WATCH_READY)

    async def is_answered() -> bool:
        return silent.frames[HEADERS] > 0

    await eventually(is_answered)


async def test_readiness_changes_while_a_watcher_does_not_read(postgres: str, database_url: str) -> None:
    name = parse_address(database_url).database
    async with (
        running_server(database_url) as address,
        peer(address, WINDOW_OF_NOTHING) as silent,
        grpc.aio.insecure_channel(address) as channel,
        asyncio.timeout(120),
    ):
        await watches_unread(silent)
        health: Any = HealthStub(channel)
        watching = health.Watch(HealthCheckRequest(service=READY))
        assert (await watching.read()).status == SERVING
        server = await asyncpg.connect(postgres)
        await server.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
        await server.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1", name)
        assert (await watching.read()).status == NOT_SERVING
        await server.execute(f"ALTER DATABASE {name} RESET default_transaction_read_only")
        assert (await watching.read()).status == SERVING
        await server.close()
        assert silent.bytes_of_data == 0


async def test_a_server_that_ends_says_so_to_its_watchers_and_waits_for_none(database_url: str) -> None:
    async with asyncio.timeout(120), AsyncExitStack() as clients:
        async with running_server(database_url) as address:
            channel = await clients.enter_async_context(grpc.aio.insecure_channel(address))
            health: Any = HealthStub(channel)
            watching = health.Watch(HealthCheckRequest())
            assert (await watching.read()).status == SERVING
            await watches_unread(await clients.enter_async_context(peer(address, WINDOW_OF_NOTHING)))
        assert (await watching.read()).status == NOT_SERVING
        assert await watching.code() is not grpc.StatusCode.OK


@pytest.mark.changes_nothing
async def test_an_unknown_service_is_watched_like_others_and_a_long_name_is_refused(channel: grpc.aio.Channel) -> None:
    health: Any = HealthStub(channel)
    watching = health.Watch(HealthCheckRequest(service="other"))
    assert (await watching.read()).status == HealthCheckResponse.SERVICE_UNKNOWN
    assert not watching.done()
    for service in ("x" * 60_000, "x" * 1_025):
        assert await health.Watch(HealthCheckRequest(service=service)).code() is grpc.StatusCode.INVALID_ARGUMENT
    watching.cancel()


async def test_a_caller_watches_as_often_as_it_may_subscribe(database_url: str) -> None:
    async with (
        running_server(database_url, **COUNTED, subscriptions_of_address=2) as address,
        grpc.aio.insecure_channel(address) as channel,
    ):
        health: Any = HealthStub(channel)
        watching = [health.Watch(HealthCheckRequest(service=service)) for service in ("", "other")]
        for each in watching:
            await each.read()
        assert await seconds_told(health.Watch(HealthCheckRequest()).read()) == 5
        watching[0].cancel()

        async def there_is_room() -> bool:
            code: grpc.StatusCode | None = None
            try:
                await health.Watch(HealthCheckRequest()).read()
            except grpc.aio.AioRpcError as refused:
                code = refused.code()
            return code is None

        await eventually(there_is_room)
