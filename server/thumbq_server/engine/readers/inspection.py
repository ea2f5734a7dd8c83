"""What an operator looks at: the queue in figures, workers, dead letters, and why a job waits."""

import asyncio
import time
from collections.abc import Callable, Sequence

from thumbq_runtime.limits.rates import Kind
from thumbq_server.domain.operations import Statistics, WorkerState
from thumbq_server.domain.records import AttemptRecord, JobRecord
from thumbq_server.domain.waiting import Explanation, RefusedClaim, explain
from thumbq_server.engine.pressure import Pressure
from thumbq_server.engine.readers.views import Views
from thumbq_server.engine.refused_claims import RefusedClaims
from thumbq_server.storage.postgres.database import Database
from thumbq_server.storage.reads import operations, statistics
from thumbq_server.storage.reads.activity import Activity
from thumbq_server.storage.reads.history import read_history

# Dashboards of many operators cost as much as one.
FRESH_SECONDS = 1.0


class Inspection:
    """Reads for operators. Every method raises Unavailable while PostgreSQL is away."""

    def __init__(
        self,
        database: Database,
        views: Views,
        pressure: Pressure,
        refused_claims: RefusedClaims,
        keeps_jobs_back: Callable[[], bool],
    ) -> None:
        """`keeps_jobs_back`: whether a stream of a worker gets no jobs, since its caller has as many as it may have."""
        self._database = database
        self._views = views
        self._pressure = pressure
        self._refused_claims = refused_claims
        self._keeps_jobs_back = keeps_jobs_back
        self._lock = asyncio.Lock()
        self._activity = Activity(database)
        self._statistics: Statistics | None = None
        self._read_at = 0.0

    async def statistics(self) -> Statistics:
        """Return the queue in figures: pause and depth of this moment, rates and durations of the last second."""
        depth = await statistics.read_depth(self._database)
        async with self._lock:
            if self._statistics is None or time.monotonic() - self._read_at >= FRESH_SECONDS:
                minutes = await self._activity.read()
                durations = await statistics.read_durations(self._database)
                self._statistics = Statistics(depth, minutes, durations)
                self._read_at = time.monotonic()
            return self._statistics._replace(
                depth=depth, limit=self._pressure.limit, pressure=self._pressure.level_with(depth.counters.pending)
            )

    async def workers(self) -> list[WorkerState]:
        """Return the sessions of workers, the latest heartbeat first."""
        return await operations.list_workers(self._database)

    async def dead_letters(self, below: int, limit: int, reason: str) -> tuple[Sequence[JobRecord], int | None]:
        """Return dead letters with ids below `below`, and below which id the next page begins (None: nowhere)."""
        page = await operations.find_dead_letters(self._database, below, limit, reason)
        return await operations.read_jobs(self._database, list(page.job_ids)), page.next_below

    async def history(self, job_id: int) -> list[AttemptRecord]:
        """Return the ended attempts of a job, or raise NotFound."""
        attempts = await read_history(self._database, job_id)
        if not attempts:
            await self._views.job(job_id)
        return attempts

    async def explain(self, job_id: int) -> Explanation:
        """Return why a job waits, or how it stands otherwise; raise NotFound."""
        job = await self._views.job(job_id)
        depth = await statistics.read_depth(self._database)
        now, ahead = await operations.place_of(self._database, job)
        refused = self._refused_claims.last()
        if self._keeps_jobs_back():
            refused.insert(0, RefusedClaim(Kind.JOBS_IN_FLIGHT, 0.0, 1.0))
        return explain(job, now, depth, ahead, refused)._replace(progress=await self._views.progress(job))
