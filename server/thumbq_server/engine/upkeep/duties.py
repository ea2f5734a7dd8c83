"""What the janitor does: each duty is called regularly and returns how much it did."""

import time
from collections.abc import Callable, Mapping

from thumbq_server.domain.ends import Ends
from thumbq_server.domain.retry import RetryPolicy, delays, jitter
from thumbq_server.metrics.observer import Observer
from thumbq_server.storage import live_tables, maintenance, workers
from thumbq_server.storage.postgres.database import Database
from thumbq_server.storage.postgres.errors import Unavailable
from thumbq_server.storage.postgres.lane import Lane
from thumbq_server.storage.transitions.fail import expire

EXPIRE_LIMIT = 1000
WORTH_A_VACUUM = 1000
PRUNE_LIMIT = 1000
_PRUNE_SECONDS = 0.5  # The other duties wait meanwhile.
_REST_SECONDS = 60.0


class ExpireLeases:
    """Ends the attempts whose lease ran out; `wake_in` is called with the seconds until their retries are due.

    While PostgreSQL or this server was away no heartbeat could extend a lease. So after a start or an outage workers
    have `grace` seconds to send one before anything is taken from them.
    """

    def __init__(
        self,
        lane: Lane,
        policy: RetryPolicy,
        wake_in: Callable[[float], None],
        grace: float,
        observer: Observer,
        ends: Ends | None = None,
    ) -> None:
        self._lane = lane
        self._ends = ends or Ends()
        self._observer = observer
        self._policy = policy
        self._wake_in = wake_in
        self._grace = grace
        self._not_before = time.monotonic() + grace

    async def __call__(self) -> int:
        """Return how many leases expired."""
        if time.monotonic() < self._not_before:
            return 0
        try:
            return await self._expire_all()
        except Unavailable:
            self._not_before = time.monotonic() + self._grace
            raise

    async def _expire_all(self) -> int:
        count = 0
        while True:
            rows = await expire(self._lane, EXPIRE_LIMIT, delays(self._policy), jitter(self._policy), self._ends)
            for due_in in {row.due_in for row in rows if row.due_in is not None}:
                self._wake_in(due_in)
            self._observer.dead_letters(sum(row.due_in is None for row in rows))
            count += len(rows)
            if len(rows) < EXPIRE_LIMIT:
                return count


class PruneLog:
    """Forgets notifications older than `keep` seconds, in pieces. What takes too long is left to the next time."""

    def __init__(self, database: Database, keep: float) -> None:
        self._database = database
        self._keep = keep

    async def __call__(self) -> int:
        """Return how many commits were forgotten."""
        count = 0
        until = time.monotonic() + _PRUNE_SECONDS
        while True:
            pruned = await maintenance.prune_log(self._database, self._keep, PRUNE_LIMIT)
            count += pruned
            if pruned < PRUNE_LIMIT or time.monotonic() >= until:
                return count


class PruneJobs:
    """Forgets jobs that ended more than `keep` seconds ago, as far as nothing shows what they made.

    Each run looks at the jobs that follow those of the last run, and begins again after the last one. After a run that
    forgets few jobs, or looks at the last one, it rests for a minute.
    """

    def __init__(self, database: Database, keep: float) -> None:
        self._database = database
        self._keep = keep
        self._after = 0
        self._rests_until = 0.0

    async def __call__(self) -> int:
        """Return how many jobs were forgotten."""
        if time.monotonic() < self._rests_until:
            return 0
        count, after = await prune_jobs_for(_PRUNE_SECONDS, self._database, self._keep, self._after)
        self._after = after or 0
        if after is None or count < PRUNE_LIMIT:
            self._rests_until = time.monotonic() + _REST_SECONDS
        return count


async def prune_jobs_for(seconds: float, database: Database, keep: float, after: int) -> tuple[int, int | None]:
    """Prune jobs after id `after`, piece by piece, for this time. Return how many, and where to go on (None: done)."""
    count = 0
    until = time.monotonic() + seconds
    at: int | None = after
    while at is not None:
        pruned, at = await maintenance.prune_jobs(database, keep, at, PRUNE_LIMIT)
        count += pruned
        if time.monotonic() >= until:
            break
    return count, at


class RecountJobs:
    """Puts the counter of jobs right, for what servers of an older version did beside this one."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def __call__(self) -> int:
        """Return how many jobs the counter was away."""
        return await maintenance.recount_jobs(self._database)


class VacuumLiveTables:
    """Clears away the dead rows that claims wade through, once enough jobs were claimed.

    `jobs_claimed` returns a running count. A few dead rows do no harm, and a vacuum on an otherwise idle queue would
    be in the way of the next job.
    """

    def __init__(self, database: Database, jobs_claimed: Callable[[], int]) -> None:
        self._database = database
        self._jobs_claimed = jobs_claimed
        self._done_at = 0

    async def __call__(self) -> int:
        """Return 0: a vacuum is not worth a line in the log."""
        if self._jobs_claimed() - self._done_at >= WORTH_A_VACUUM:
            self._done_at = self._jobs_claimed()
            await live_tables.vacuum(self._database)
        return 0


class PruneWorkers:
    """Forgets workers that were silent for `keep` seconds and hold no lease."""

    def __init__(self, database: Database, keep: float) -> None:
        self._database = database
        self._keep = keep

    async def __call__(self) -> int:
        """Return how many were forgotten."""
        return await workers.prune(self._database, self._keep, PRUNE_LIMIT)


class RecordSignsOfLife:
    """Moves the last sign of life of all workers that gave one, and adds up what they ended, in one statement.

    Heartbeats call `note`. Unary dequeues call `hear`: the worker has received what it claimed before. Attempts that
    end are counted in `ends`.
    """

    def __init__(self, database: Database, unary_lease_seconds: float) -> None:
        self._database = database
        self._unary_lease_seconds = unary_lease_seconds
        self._seen: set[int] = set()
        self._heard: dict[int, float] = {}
        self.ends = Ends()
        database.history.on_change(self._forget)

    def note(self, session: int) -> None:
        """Note that the worker of a session lives."""
        self._seen.add(session)

    def hear(self, session: int) -> None:
        """Note that a worker of unary calls lives, and what it claimed until now."""
        self._seen.add(session)
        self._heard[session] = time.monotonic()

    def _forget(self) -> None:
        """Drop all: another history gives the numbers of sessions to others."""
        self._seen.clear()
        self._heard.clear()
        self.ends.take()

    async def __call__(self) -> int:
        """Return 0: that workers live is not worth a line in the log.

        What an outage keeps from being written is written after it: the leases of those that were heard must not end.
        Counts are dropped instead: they may have been written, and count once at most.
        """
        history = self._database.history.version
        seen, self._seen = self._seen, set()
        heard, self._heard = self._heard, {}
        try:
            await self._write(history, seen, heard, *self.ends.take())
        except Unavailable:
            if history == self._database.history.version:
                self._seen |= seen
                self._heard = heard | self._heard
            raise
        return 0

    async def _write(
        self,
        history: int,
        seen: set[int],
        heard: dict[int, float],
        completed: Mapping[int, int],
        failed: Mapping[int, int],
    ) -> None:
        if seen or completed or failed:
            await workers.record(self._database, history, seen, completed, failed)
        if heard:
            now = time.monotonic()
            ages = {session: now - at for session, at in heard.items()}
            await workers.confirm(self._database, history, ages, self._unary_lease_seconds)
