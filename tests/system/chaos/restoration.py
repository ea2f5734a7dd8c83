"""The last act of a run: a backup is put back under everything that runs, so that a new history begins.

The backup is a copy of PostgreSQL's folder, taken in the middle of the run. Everything that was acknowledged after the
copy is gone with the old history; all the rest must hold in the new one.
"""

import asyncio
import contextlib
import shutil
import signal
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import asyncpg

from tests.support.postgres.standby import copy_cluster
from tests.system.chaos.actors.clients import Subscriber
from tests.system.chaos.actors.journal import DELIVERED
from tests.system.chaos.checking.check_log import check_log, events_of
from tests.system.chaos.checking.checks import JOBS, check_tables
from tests.system.chaos.checking.evidence import Evidence
from tests.system.chaos.checking.history import read_history
from tests.system.chaos.faults import ended_well
from tests.system.chaos.world import World

# Seconds of work between the start of the producers and the restore: beats and jobs that the copy does not have.
_LOST_WORK = 3.0


class Restoration:
    """Takes the backup, puts it back, and checks the new history."""

    def __init__(self, world: World, folder: Path) -> None:
        self._world = world
        self._data = folder / "data"
        self._copy = folder / "backup"
        self._copied_at = 0.0
        self._over = 0.0

    async def copy(self) -> None:
        """Copy PostgreSQL's folder while it is stopped, so that the copy has exactly what was acknowledged before."""
        self._copied_at = time.time()
        async with self._without_postgres():
            await asyncio.to_thread(copy_cluster, self._data, self._copy)

    async def restore(self) -> None:
        """Let work go on for a moment, and put the copy back."""
        await asyncio.sleep(_LOST_WORK)
        async with self._without_postgres():
            await asyncio.to_thread(shutil.rmtree, self._data)
            self._copy.rename(self._data)
        self._over = time.time()

    async def problems(self, connection: asyncpg.Connection) -> list[str]:
        """Return what does not hold in the new history, when all its jobs have ended."""
        return await problems_of_new_history(self._world, connection, self._copied_at, self._over)

    @contextlib.asynccontextmanager
    async def _without_postgres(self) -> AsyncIterator[None]:
        postgres = self._world.postgres
        postgres.expected_up = False
        postgres.send(signal.SIGTERM)
        if problem := await ended_well(postgres):
            raise AssertionError(problem)
        yield
        await self._world.start_again(postgres)


async def problems_of_new_history(world: World, connection: asyncpg.Connection, kept: float, over: float) -> list[str]:
    """Return what does not hold in a history that lost commits, when all its jobs have ended.

    It has everything that was acknowledged before the time `kept`, and everything since `over`.
    """
    evidence = Evidence(await read_history(connection), world.journals)
    return [
        *await check_tables(connection),
        *check_log(evidence),
        *_check_requests(evidence, await connection.fetch(JOBS), kept, over),
        *(problem for each in world.clients.subscribers for problem in _check_subscriber(evidence, each, kept)),
    ]


def _check_requests(evidence: Evidence, rows: list[asyncpg.Record], kept: float, over: float) -> Iterator[str]:
    """Check that no request is lost that was acknowledged before the loss, or since."""
    jobs = {row["id"]: (row["model_id"], row["hash"]) for row in rows}
    for entries in evidence.journals.values():
        for at, what, *details in entries:
            if what == "enqueued" and (at < kept or at > over):
                for model_id, digest, job_id, _ in details[0]:
                    if jobs.get(job_id) != (model_id, digest):
                        yield f"job {job_id} was acknowledged for model {model_id}, and is not in the new history"


def _check_subscriber(evidence: Evidence, subscriber: Subscriber, since: float) -> Iterator[str]:
    """Check that a subscriber was told once of the new history, and then saw each event that came after."""
    entries = evidence.journals.get(subscriber.name, [])
    resets = [index for index, (at, what, *_rest) in enumerate(entries) if what == "reset" and at > since]
    if len(resets) != 1:
        yield f"{subscriber.name} got {len(resets)} resets by one new history"
        return
    _, _, position, *_ = entries[resets[0]]
    seen = [details for _, what, *details in entries[resets[0] :] if what == DELIVERED]
    due = [event for event in events_of(evidence, subscriber) if event[0] > position]
    if seen != due:
        yield f"{subscriber.name} saw {len(seen)} events after the reset to {position}, and {len(due)} were due"
