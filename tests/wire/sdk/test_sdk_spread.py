"""Clients of several servers: they spread over them, and move when a server drains."""

from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack

import asyncpg
import psutil
import pytest

from tests.support.service.gateway import RestartableServer, target_of, two_servers
from tests.support.waiting import eventually
from tests.wire.sdk.sdk import HASH, Gate, confirmed, connected, enqueue, reached, working
from thumbq import NewJob, Producer

# All of them would choose the same server once in 2 ** 39 runs.
CLIENTS = 40


@pytest.fixture
async def servers(database_url: str) -> AsyncIterator[list[RestartableServer]]:
    async with two_servers(database_url) as both:
        yield both


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[asyncpg.Connection]:
    async with connected(database_url) as connection:
        yield connection


@pytest.fixture(params=["addresses", "a name"])
async def target(request: pytest.FixtureRequest, servers: list[RestartableServer]) -> AsyncIterator[str]:
    """What names both servers."""
    async with target_of(servers, by_name=request.param == "a name") as target:
        yield target


def connections(servers: list[RestartableServer]) -> list[int]:
    """Return how many clients each of the servers has; they run in this process."""
    open_ones = [each for each in psutil.Process().net_connections("tcp") if each.status == "ESTABLISHED"]
    # gRPC writes IPv4 addresses as those of IPv6.
    ends = Counter((each.laddr.ip.removeprefix("::ffff:"), each.laddr.port) for each in open_ones)
    return [ends[server.host, server.port] for server in servers]


async def test_clients_spread_over_the_servers_that_an_address_names(
    servers: list[RestartableServer], target: str
) -> None:
    async with AsyncExitStack() as stack:
        for model_id in range(CLIENTS):
            producer = await stack.enter_async_context(Producer(target))
            await producer.enqueue([NewJob(model_id=model_id + 1, model_hash=HASH)])
        await eventually(
            has(CLIENTS, servers), timeout=60
        )  # one that took long to open leaves a second one for a while
        assert all(connections(servers))


async def test_a_worker_takes_its_jobs_to_another_server_when_its_own_drains(
    servers: list[RestartableServer], target: str, database: asyncpg.Connection
) -> None:
    """Each of the servers stops once, so the worker moves at least once, whichever it has chosen."""
    gate = Gate()
    await enqueue(servers[0].address, 5)
    async with working(target, gate, concurrency=5):
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
