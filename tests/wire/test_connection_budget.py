"""PostgreSQL has no connection left: this is an outage, which says what to change and is over by itself."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, suppress
from pathlib import Path

import asyncpg
import grpc
import pytest
from structlog.testing import capture_logs

from tests.support.service.server import running_server, status_of
from tests.support.waiting import eventually
from tests.wire.worker import enqueue
from thumbq.cli.operating.observe import readiness
from thumbq.v1 import queue_pb2_grpc
from thumbq_launcher.postgres.embedded import EmbeddedPostgres
from thumbq_server.app import serving
from thumbq_server.metrics.observer import Observer
from thumbq_server.settings import Settings
from thumbq_server.storage.migrations import upgrade

WAY_OUT = "raise max_connections, or the CONNECTION LIMIT of the role or the database"


@pytest.fixture
def small_postgres(tmp_path: Path) -> Iterator[EmbeddedPostgres]:
    """A PostgreSQL with room for a server, and little more."""
    postgres = EmbeddedPostgres(tmp_path, max_connections=20)
    postgres.start()
    yield postgres
    postgres.stop()


@pytest.fixture
async def admin(small_postgres: EmbeddedPostgres) -> AsyncIterator[asyncpg.Connection]:
    """A superuser, for whom places are kept free."""
    connection = await asyncpg.connect(small_postgres.dsn)
    await connection.execute("CREATE ROLE plain LOGIN; GRANT CREATE ON SCHEMA public TO plain")
    yield connection
    await connection.close()


async def crowd_at(address: str) -> list[asyncpg.Connection]:
    """Take every connection that is left."""
    crowd: list[asyncpg.Connection] = []
    with suppress(asyncpg.TooManyConnectionsError):
        while True:
            crowd.append(await asyncpg.connect(address))
    return crowd


async def test_a_server_without_a_connection_waits_for_one_when_it_starts_and_later(
    small_postgres: EmbeddedPostgres, admin: asyncpg.Connection
) -> None:
    address = small_postgres.dsn.replace("postgres@", "plain@")
    async with AsyncExitStack() as stack:
        crowd = await crowd_at(address)
        with capture_logs() as logs:
            starting = asyncio.create_task(stack.enter_async_context(running_server(address)))

            async def is_told() -> bool:
                return any(
                    line["event"] == "postgres.away" and line["who"] == "start" and WAY_OUT in line["error"]
                    for line in logs
                )

            await eventually(is_told, timeout=60)
        assert not starting.done()
        for connection in crowd:
            await connection.close()
        server = await starting
        channel = await stack.enter_async_context(grpc.aio.insecure_channel(server))
        queue = queue_pb2_grpc.QueueServiceStub(channel)
        await enqueue(queue, 1)

        await admin.execute("ALTER ROLE plain CONNECTION LIMIT 0")
        await admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'plain'")

        async def reason() -> str:
            return (await readiness(server)).reason

        async def is_away() -> bool:
            return (await reason()).startswith(f"the database has no connection left: {WAY_OUT}")

        async def is_back() -> bool:
            return not await reason()

        await eventually(is_away, timeout=60)
        assert (await status_of(enqueue(queue, 2)))[0] is grpc.StatusCode.UNAVAILABLE
        await admin.execute("ALTER ROLE plain CONNECTION LIMIT -1")
        await eventually(is_back, timeout=60)
        await enqueue(queue, 3)


async def test_connections_that_others_take_while_a_server_starts_are_waited_for(
    small_postgres: EmbeddedPostgres, admin: asyncpg.Connection
) -> None:
    """The tables are there, and then there is no room for the pool."""
    address = small_postgres.dsn.replace("postgres@", "plain@")
    await upgrade(address)
    settings = Settings(database_url=address, grpc_port=0, shutdown_grace=2.0)
    await admin.execute("ALTER ROLE plain CONNECTION LIMIT 0")
    async with AsyncExitStack() as stack:
        with capture_logs() as logs:
            server = serving(settings, address, Observer(), asyncio.Event(), None)
            starting = asyncio.create_task(stack.enter_async_context(server))

            async def is_told() -> bool:
                return starting.done() or any(line["event"] == "postgres.away" for line in logs)

            await eventually(is_told, timeout=60)
        assert not starting.done()
        await admin.execute("ALTER ROLE plain CONNECTION LIMIT -1")
        channel = await stack.enter_async_context(grpc.aio.insecure_channel(f"127.0.0.1:{await starting}"))
        await enqueue(queue_pb2_grpc.QueueServiceStub(channel), 1)
