"""Through every outage, a subscriber gets each event of its filter in order, or exactly one reset per gap."""

import asyncio
import gc
import random
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress

import pytest

from tests.gateway.notifications.listeners import Filter, GrpcListener, LinesReader, Listener, News, Page
from tests.support.network.ports import free_port
from tests.support.postgres.queue_under_test import new_job
from tests.support.service.gateway import running_gateway
from tests.support.service.server import running_server
from thumbq_server.domain.records import CommitRecord
from thumbq_server.storage import maintenance, notification_log
from thumbq_server.storage.postgres.database import Database
from thumbq_server.storage.postgres.errors import Unavailable
from thumbq_server.storage.transitions.enqueue import enqueue

MODELS = range(1, 9)
STATUSES = ["Pending", "Processing", "Ready", "Failed"]
WHOLE_LOG = 1_000_000
# How often each server and each gateway has stopped at least, and the least number of resets by then.
STOPS = 2
RESETS = 5


class World:
    """Two servers and two gateways that stop and start, a log that is written and pruned, and a copy of the log."""

    def __init__(self, database: Database, seed: int) -> None:
        self.database = database
        self.dice = random.Random(seed)
        self.log: list[News] = []
        # the position up to which the log is pruned, or is about to be
        self.pruned = 0
        self.gateways = ["", ""]
        self.servers = [f"127.0.0.1:{port}" for port in (free_port(), free_port())]
        # the last position, once the writers have stopped
        self.end = -1
        # calm: nothing stops and nothing is written any more; over: every subscriber has reached the end
        self.calm, self.over = asyncio.Event(), asyncio.Event()
        self.stops = Counter[object]()  # of each server and gateway
        self._files = iter(range(1, WHOLE_LOG))

    async def keep(self, part: Callable[[int], AbstractAsyncContextManager[None]], number: int) -> None:
        """Run a server or gateway with pauses in between, and keep it running in the end."""
        while not self.over.is_set():
            # All of them share a process: a start that takes longer than a server waits for PostgreSQL is made again.
            with suppress(Unavailable):
                async with part(number):
                    await self._pause(0.3, 2.0)
                    if self.calm.is_set():
                        await self.over.wait()
                self.stops[part, number] += 1
            await self._pause(0, 0.8)

    @asynccontextmanager
    async def gateway(self, number: int) -> AsyncIterator[None]:
        servers = "ipv4:" + ",".join(self.dice.sample(self.servers, 2))
        ring = self.dice.choice([1, 50, 10_000])
        async with running_gateway(servers, heartbeat=0.3, ring_notifications=ring) as http:
            assert http._base_url is not None
            self.gateways[number] = http._base_url.authority
            yield

    @asynccontextmanager
    async def server(self, number: int) -> AsyncIterator[None]:
        port = int(self.servers[number].rpartition(":")[2])
        async with running_server(self.database.dsn, grpc_port=port):
            yield

    async def write(self) -> None:
        """Commit single notifications and batches until it is calm."""
        lane = self.database.lane()
        while not self.calm.is_set():
            if self.dice.random() < 0.7:
                await notification_log.publish_test(
                    self.database, self.dice.choice(MODELS), self.dice.choice(STATUSES), None, None
                )
            else:
                count = self.dice.choice([1, 3, 40, 200])
                await enqueue(lane, [new_job(self.dice.choice(MODELS), next(self._files)) for _ in range(count)])
            await self._pause(0, 0.05)

    async def prune(self) -> None:
        """Prune a random number of the oldest commits, after copying them."""
        while not self.calm.is_set():
            await self._pause(0, 2.0)
            rows = await self.read_log()
            if count := self.dice.randint(0, len(rows)):
                self.pruned = rows[count - 1].seq_last
                assert await maintenance.prune_log(self.database, 0, count) == count

    async def read_log(self) -> Sequence[CommitRecord]:
        """Copy the new commits. Returns all commits that are still in the log."""
        rows = await notification_log.after(self.database, 0, WHOLE_LOG)
        for row in rows:
            if row.seq_last > len(self.log):
                assert row.seq_first == len(self.log) + 1
                news = enumerate(row.model_ids, row.seq_first)
                self.log += [News(seq, model_id, row.status) for seq, model_id in news]
        return rows

    async def follow(self, listener: Listener, addresses: list[str]) -> None:
        await listener.follow(
            address=lambda: self.dice.choice(addresses),
            pruned=lambda: self.pruned,
            is_over=lambda seq: seq == self.end,
            is_calm=self.calm.is_set,
        )

    async def _pause(self, least: float, most: float) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(self.calm.wait(), self.dice.uniform(least, most))


def listeners(world: World, cursor: str) -> list[tuple[Listener, list[str]]]:
    """Make listeners of every kind and filter, each with the addresses that it may connect to."""
    filters = [
        Filter(),
        Filter(models=frozenset({1})),
        Filter(models=frozenset({2, 3, 5}), statuses=frozenset({"Ready", "Failed"})),
        Filter(statuses=frozenset({"Pending"})),
    ]
    made: list[tuple[Listener, list[str]]] = []
    for kind in (Page, LinesReader, GrpcListener):
        for number, wanted in enumerate(filters):
            listener = kind(f"{kind.__name__} {number}", wanted, cursor, world.dice)
            made.append((listener, world.servers if kind is GrpcListener else world.gateways))
    return made


# A connection that is accepted while its gateway stops is closed when the process ends. These gateways share the
# process of the tests.
@pytest.mark.filterwarnings("ignore:.*unclosed:ResourceWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("seed", range(3))
async def test_nobody_misses_anything_without_being_told(database_url: str, seed: int) -> None:
    async with Database(database_url, pool_size=6) as database:
        world = World(database, seed)
        epoch, _ = await notification_log.head(database)
        everybody = listeners(world, f"{epoch}-0")
        parts = [(part, number) for part in (world.server, world.gateway) for number in range(2)]
        keepers = [asyncio.create_task(world.keep(*part)) for part in parts]
        try:
            async with asyncio.timeout(280), asyncio.TaskGroup() as tasks:
                writing = [tasks.create_task(world.write()) for _ in range(3)]
                pruning = tasks.create_task(world.prune())
                for listener, addresses in everybody:
                    tasks.create_task(world.follow(listener, addresses))
                while not (
                    all(world.stops[part] >= STOPS for part in parts)
                    and enough_was_seen([listener for listener, _ in everybody])
                ):
                    await asyncio.sleep(0.1)
                world.calm.set()
                await asyncio.gather(*writing, pruning)
                await world.read_log()
                world.end = len(world.log)
        finally:
            world.calm.set()
            world.over.set()
            await asyncio.gather(*keepers)
    for listener, _ in everybody:
        listener.check(world.log)
    gc.collect()


def enough_was_seen(everybody: Sequence[Listener]) -> bool:
    return sum(listener.resets for listener in everybody) >= RESETS and all(listener.news for listener in everybody)
