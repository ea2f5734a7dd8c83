"""Clients of several servers: they spread over them, and move when a server drains."""

from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack

import asyncpg
import psutil
import pytest

from tests.support.gateway import RestartableServer
from tests.support.waiting import eventually
from tests.wire.sdk.sdk import HASH, Gate, confirmed, connected, enqueue, reached, working
from thumbq import NewJob, Producer

# All of them would choose the same server once in 2 ** 39 runs.
CLIENTS = 40


@pytest.fixture
async def servers(database_url: str) -> AsyncIterator[list[RestartableServer]]:
    async with AsyncExitStack() as stack:
        both = [RestartableServer(database_url) for _ in range(2)]
        for server in both:
            await server.start()
            stack.push_async_callback(server.stop)
        yield both


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[asyncpg.Connection]:
    async with connected(database_url) as connection:
        yield connection


def target(servers: list[RestartableServer]) -> str:
    return f"ipv4:{','.join(server.address for server in servers)}"


def connections(servers: list[RestartableServer]) -> list[int]:
    """Return how many clients each of the servers has; they run in this process."""
    ports = Counter(each.laddr.port for each in psutil.Process().net_connections("tcp") if each.status == "ESTABLISHED")
    return [ports[int(server.address.rpartition(":")[2])] for server in servers]


async def test_clients_spread_over_the_servers_that_an_address_names(servers: list[RestartableServer]) -> None:
    async with AsyncExitStack() as stack:
        for model_id in range(CLIENTS):
            producer = await stack.enter_async_context(Producer(target(servers)))
            await producer.enqueue([NewJob(model_id=model_id + 1, model_hash=HASH)])
        await eventually(
            has(CLIENTS, servers), timeout=60
        )  # one that took long to open leaves a second one for a while
        assert all(connections(servers))


async def test_a_worker_takes_its_jobs_to_another_server_when_its_own_drains(
    servers: list[RestartableServer], database: asyncpg.Connection
) -> None:
    """Each of the servers stops once, so the worker moves at least once, whichever it has chosen."""
    gate = Gate()
    await enqueue(servers[0].address, 5)
    async with working(target(servers), gate, concurrency=5):
        await gate.begun(5)
        await confirmed(database, 5)  # a server that stops takes back what has not been confirmed
        for server in servers:
            await server.stop()
            (other,) = [each for each in servers if each is not server]
            await eventually(has(1, [other]), timeout=60)
            await server.start()
        gate.open.set()
        await reached(database, Completed=5)
    assert set(gate.runs.values()) == {1}
    assert gate.cancelled == 0


def has(count: int, servers: list[RestartableServer]) -> Callable[[], Awaitable[bool]]:
    async def counted() -> bool:
        return sum(connections(servers)) == count

    return counted
