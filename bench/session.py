"""A session: one contender on an empty database, ready to be measured."""

import asyncio
import contextlib
import itertools
import json
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

from bench.drivers.meter import Reading
from bench.drivers.program import Figures
from bench.running import processes, service
from bench.running.cluster import Cluster, Database
from bench.running.processes import Failed, Process
from bench.subjects.contenders import ROOT, Contender, Crew

_LOOK_EVERY = 0.005  # seconds
_FILL_IN_FLIGHT = 4  # batches


class Workers:
    """The worker processes of one measurement, while they run."""

    def __init__(self, members: list[Process], meters: list[Reading]) -> None:
        self.members = members
        self.meters = meters

    @property
    def handled(self) -> int:
        """Number of jobs so far."""
        return sum(meter.handled for meter in self.meters)

    @property
    def first(self) -> float:
        """Time of the first job of all; 0 before it."""
        return min((meter.first for meter in self.meters if meter.first), default=0.0)

    def waits(self) -> list[float]:
        """Return the milliseconds from each call to its handler, sorted."""
        return sorted(wait for meter in self.meters for wait in meter.waits())

    async def until(self, jobs: int, limit: float = 120.0) -> float:
        """Wait until `jobs` jobs are handled, and return the time. Raises Failed after `limit` seconds."""
        ends = time.monotonic() + limit
        while self.handled < jobs:
            await asyncio.sleep(_LOOK_EVERY)
            for member in self.members:
                member.check()
            if time.monotonic() > ends:
                raise Failed(f"{self.handled:,} of {jobs:,} jobs were handled in {limit:.0f} s")
        return time.monotonic()


@dataclass(frozen=True)
class Session:
    """A contender with its database and, for thumbq, its server."""

    contender: Contender
    cluster: Cluster
    database: Database
    logs: Path
    target: str
    server: Process | None

    async def verb(self, name: str, limit: float = 120.0, **options: object) -> Figures:
        """Run the contender's driver with one verb, and return its figures. Raises Failed."""
        command = [*self.contender.command, name, json.dumps(options)]
        try:
            async with (
                asyncio.timeout(limit),
                processes.running(command, self.logs / f"{name}.log", self._environment()) as driver,
            ):
                figures: Figures = json.loads(await driver.line())
                return figures
        except TimeoutError:
            raise Failed(f"{name} took more than {limit:.0f} s") from None

    async def fill(self, jobs: int, first: int = 1) -> Figures:
        """Enqueue a backlog."""
        limit = 120 + jobs / 3_000
        return await self.verb("bulk", limit, jobs=jobs, first=first, in_flight=_FILL_IN_FLIGHT)

    @contextlib.asynccontextmanager
    async def workers(self, crew: Crew) -> AsyncIterator[Workers]:
        """Start worker processes, and kill them at the end of the block."""
        async with contextlib.AsyncExitStack() as stack:
            meters, members = [], []
            for index in range(crew.processes):
                meters.append(Reading.of_new(self.logs / f"meter-{index}"))
                options = {**crew.options, "meter": str(meters[-1].path)}
                command = [*self.contender.command, "work", json.dumps(options)]
                log = self.logs / f"worker-{index}.log"
                member = await stack.enter_async_context(processes.running(command, log, self._environment()))
                members.append(member)
            yield Workers(members, meters)

    async def until_finished(self, limit: float = 30.0) -> float:
        """Wait until the database has no unfinished job, and return the time. Raises Failed after `limit` seconds."""
        ends = time.monotonic() + limit
        while await self.database.any(self.contender.unfinished):
            await asyncio.sleep(_LOOK_EVERY)
            if time.monotonic() > ends:
                raise Failed("all jobs were handled, but some were never finished")
        return time.monotonic()

    async def end_server(self) -> None:
        """Shut the server down; the database stays."""
        if self.server:
            await self.server.stop()

    def pids(self) -> dict[str, int]:
        """Return the process ids of PostgreSQL and of the server, if there is one."""
        return {"postgres": self.cluster.pid} | ({"server": self.server.pid} if self.server else {})

    def _environment(self) -> dict[str, str]:
        return {"BENCH_TARGET": self.target, "PYTHONPATH": str(ROOT), **self.contender.environment}


@contextlib.asynccontextmanager
async def session(contender: Contender, cluster: Cluster, logs: Path) -> AsyncIterator[Session]:
    """Start a contender on an empty database. Raises Failed."""
    async with contextlib.AsyncExitStack() as stack:
        database = await stack.enter_async_context(cluster.database())
        target, server = database.dsn, None
        if contender.processes > 1:
            server, target, _ = await stack.enter_async_context(service.whole(target, logs, contender.processes))
        elif contender.is_ours:
            server, target = await stack.enter_async_context(service.server(target, logs))
        ready = Session(contender, cluster, database, logs, target, server)
        await ready.verb("setup")
        yield ready


def slices(times: list[float], jobs: int) -> Iterator[float]:
    """Yield the jobs a second between each two of these times, with `jobs` jobs between them."""
    for before, after in itertools.pairwise(times):
        yield jobs / (after - before)
