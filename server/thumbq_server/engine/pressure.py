"""How full the queue is, for producers that should slow down; and its limit, if the operator has set one."""

import asyncio
import time
from collections.abc import Callable, Sequence

from thumbq_runtime.limits.rates import Kind, TooOften
from thumbq_server.domain.job import NewJob
from thumbq_server.storage.postgres.database import Database
from thumbq_server.storage.reads.statistics import count_pending
from thumbq_server.storage.transitions.revive import add_nothing

_FRESH_SECONDS = 0.25
_AGAIN = 5.0  # seconds


class QueueFull(TooOften):
    """The queue has as many Pending jobs as it may have, and this would add more."""

    def __init__(self, limit: int) -> None:
        sentence = f"The queue is full: {limit} jobs are Pending, which is its limit (THUMBQ_QUEUE_LIMIT)."
        super().__init__(Kind.QUEUE_DEPTH, _AGAIN, sentence)


class Pressure:
    """Knows about how many jobs are Pending: as last read, and those that this server has taken since.

    Without a limit it reads nothing. Several servers together may exceed the limit by what they take in a quarter of a
    second, and one call by its size.
    """

    def __init__(self, database: Database, limit: int | None, refused: Callable[[Kind], None]) -> None:
        self.limit = limit
        self._database = database
        self._refused = refused
        self._pending = 0
        self._read_at = float("-inf")
        self._one_read = asyncio.Lock()

    @property
    def level(self) -> float | None:
        """How full the queue is, from 0 to 1; None without a limit."""
        return self.level_with(self._pending)

    def level_with(self, pending: int) -> float | None:
        """Return how full the queue is with this number of Pending jobs."""
        return None if self.limit is None else min(pending / self.limit, 1.0)

    async def admit(self, jobs: Sequence[NewJob]) -> None:
        """Count jobs that are about to be enqueued. Raises QueueFull, Unavailable."""
        if full := await self.refusal_of(jobs):
            raise next(iter(full.values()))

    async def refusal_of(self, jobs: Sequence[NewJob]) -> dict[int, QueueFull]:
        """Count jobs that are about to be enqueued. Return the refusals by the places of jobs. Raises Unavailable.

        Jobs that exist and add no work are taken at any time.
        """
        if self.limit is None or not jobs:
            return {}
        await self._read()
        if self._pending < self.limit:
            self._pending += len(jobs)
            return {}
        known = await add_nothing(self._database, jobs)
        refusals = {at: QueueFull(self.limit) for at, job in enumerate(jobs) if job not in known}
        if refusals:
            self._refused(Kind.QUEUE_DEPTH)
        return refusals

    async def _read(self) -> None:
        async with self._one_read:
            if time.monotonic() - self._read_at >= _FRESH_SECONDS:
                self._pending = await count_pending(self._database)
                self._read_at = time.monotonic()
