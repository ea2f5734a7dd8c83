"""One clock for all that is due by itself."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import structlog

from thumbq_server.domain.retry import RetryPolicy, delays, jitter
from thumbq_server.engine.outage import Outage
from thumbq_server.storage import maintenance
from thumbq_server.storage.postgres.database import Database
from thumbq_server.storage.postgres.errors import Unavailable
from thumbq_server.storage.postgres.lane import Lane
from thumbq_server.storage.transitions.fail import expire

log = structlog.get_logger()

EXPIRE_LIMIT = 1000
WORTH_A_VACUUM = 1000
PRUNE_LIMIT = 1000
_PRUNE_SECONDS = 0.5  # the other duties wait meanwhile


@dataclass
class Duty:
    """Something to do every so often (seconds). It returns how much it did; more than none is logged."""

    name: str
    every: float
    run: Callable[[], Awaitable[int]]
    due: float = field(default=0.0)
    outage: Outage = field(init=False)

    def __post_init__(self) -> None:
        # each its own: one that had nothing to ask PostgreSQL does not know that it is back
        self.outage = Outage(self.name)


class Janitor:
    """Runs its duties one after the other. Every node may: each duty is safe to run everywhere at once."""

    def __init__(self, duties: list[Duty]) -> None:
        self._duties = duties

    async def run(self) -> None:
        """Do what is due, for ever."""
        while True:
            for duty in self._duties:
                if duty.due <= time.monotonic():
                    duty.due = time.monotonic() + duty.every
                    await self._do(duty)
            await asyncio.sleep(max(0.0, min(duty.due for duty in self._duties) - time.monotonic()))

    async def _do(self, duty: Duty) -> None:
        try:
            done = await duty.run()
            duty.outage.ended()
        except Unavailable as error:
            duty.outage.began(error)
        except Exception:
            log.exception("janitor.failed", duty=duty.name)  # the clock goes on
        else:
            if done:
                log.info("janitor.done", duty=duty.name, count=done)


def expire_leases(
    lane: Lane, policy: RetryPolicy, wake_in: Callable[[float], None], patience: float
) -> Callable[[], Awaitable[int]]:
    """End the attempts whose lease ran out; `wake_in` is told when their retries fall due.

    While PostgreSQL or this server was away no heartbeat could extend a lease. So after a start or an outage workers
    have `patience` seconds to be heard before anything is taken from them.
    """
    not_before = time.monotonic() + patience

    async def run() -> int:
        nonlocal not_before
        if time.monotonic() < not_before:
            return 0
        try:
            return await expire_all()
        except Unavailable:
            not_before = time.monotonic() + patience
            raise

    async def expire_all() -> int:
        count = 0
        while True:
            rows = await expire(lane, EXPIRE_LIMIT, delays(policy), jitter(policy))
            for due_in in {row.due_in for row in rows if row.due_in is not None}:
                wake_in(due_in)
            count += len(rows)
            if len(rows) < EXPIRE_LIMIT:
                return count

    return run


def prune_log(database: Database, keep: float) -> Callable[[], Awaitable[int]]:
    """Forget notifications older than `keep` seconds. What is not done in a while is left to the next time."""

    async def run() -> int:
        count = 0
        until = time.monotonic() + _PRUNE_SECONDS
        while True:
            pruned = await maintenance.prune_log(database, keep, PRUNE_LIMIT)
            count += pruned
            if pruned < PRUNE_LIMIT or time.monotonic() >= until:
                return count

    return run


def vacuum_live_tables(database: Database, claims: Callable[[], int]) -> Callable[[], Awaitable[int]]:
    """Clear away the dead rows that claims wade through, when so many jobs were claimed (`claims` is a running count).

    A few harm nobody, and a vacuum on an otherwise idle queue would be in the way of the next job.
    """
    seen = 0

    async def run() -> int:
        nonlocal seen
        if claims() - seen >= WORTH_A_VACUUM:
            seen = claims()
            await maintenance.vacuum_live_tables(database)
        return 0

    return run
