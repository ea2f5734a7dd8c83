"""The store under the model check: many connections, and a transaction that may stand in the way."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence
from contextlib import asynccontextmanager
from itertools import combinations, permutations
from typing import Any
from urllib.parse import urlsplit

import asyncpg

from tests.store.model.model_comparison import Observation, observe
from tests.store.model.queue_verbs import (
    Enqueue,
    Renew,
    Verb,
)
from tests.support.postgres.queue_under_test import empty
from thumbq_server.storage import workers
from thumbq_server.storage.postgres.database import Database

AT_ONCE = 4
WORKERS = ("ada", "bob")

# What a transaction that is in the way may hold, until every verb waits for it or is through.
OBSTACLES = {
    "nothing": "SELECT",
    "the head": "SELECT FROM queue_head FOR UPDATE",
    "the jobs": "SELECT FROM jobs FOR UPDATE",
    "what is ready": "SELECT FROM ready FOR UPDATE",
    "the leases": "SELECT FROM leases FOR UPDATE",
    "the attempts": "SELECT FROM attempts FOR UPDATE",
}
_WAITING = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"


class Store:
    """The store, connections to it, and the event loop that they live on."""

    def __init__(self, dsn: str) -> None:
        self.database = Database(dsn)
        self.worker_names: dict[int, str] = {}
        self._runner = asyncio.Runner()
        self.run: Callable[[Coroutine[Any, Any, Any]], Any] = self._runner.run
        self.run(self._open())

    async def _open(self) -> None:
        self._obstacle = await asyncpg.connect(self.database.dsn)
        name = urlsplit(self.database.dsn).path[1:]
        await self._obstacle.execute(f"ALTER DATABASE {name} SET synchronous_commit = off")  # no power cut here
        await self.database.__aenter__()
        self.lanes = [self.database.lane() for _ in range(AT_ONCE)]
        self.worker_names = {await workers.register(self.database, name): name for name in WORKERS}

    def close(self) -> None:
        self.run(self._close())
        self._runner.close()

    async def _close(self) -> None:
        await self._obstacle.close()
        await self.database.__aexit__()

    async def empty(self) -> Observation:
        await empty(self.database, keep_workers=True)
        return await observe(self.database, cursor=0)

    async def say_at_once(self, verbs: Sequence[Verb], obstacle: str) -> list[Any]:
        """What the verbs answer, each on a connection of its own."""
        async with self._in_the_way(obstacle):
            tasks = [asyncio.create_task(verb.say(lane)) for verb, lane in zip(verbs, self.lanes, strict=False)]
            await self._all_wait(tasks)
        return list(await asyncio.gather(*tasks))

    @asynccontextmanager
    async def _in_the_way(self, obstacle: str) -> AsyncIterator[None]:
        async with self._obstacle.transaction():
            await self._obstacle.execute(OBSTACLES[obstacle])
            yield

    async def _all_wait(self, tasks: Sequence["asyncio.Task[Any]"]) -> None:
        """Return when each of these statements is through or waits for a lock."""
        waiting = 0
        async with asyncio.timeout(30):
            while waiting < len([task for task in tasks if not task.done()]):
                await asyncio.sleep(0.001)
                waiting = (await self.database.fetch(_WAITING))[0][0]


def stories(verbs: Sequence[Verb], answers: Sequence[Any]) -> Iterator[Sequence[tuple[Verb, Any]]]:
    """Every order of the verbs, with their answers; then those in which an enqueue has two steps (see Renew)."""
    said = list(zip(verbs, answers, strict=True))
    enqueues = [verb for verb in verbs if isinstance(verb, Enqueue)]
    for count in range(len(enqueues) + 1):
        for some in combinations(enqueues, count):
            yield from permutations([*said, *[(Renew(verb.requests[0]), None) for verb in some]])
