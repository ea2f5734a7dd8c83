"""The clock for everything that has to be done regularly."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import structlog

from thumbq_server.engine.outage import Outage
from thumbq_server.metrics.observer import Observer
from thumbq_server.storage.postgres.errors import Unavailable

log = structlog.get_logger()

MISSED = 3
# Less may be a busy machine.
SHORTEST_DELAY = 10.0


@dataclass
class Duty:
    """Something to do every so often (seconds). `run` returns how much it did; more than 0 is logged."""

    name: str
    every: float
    run: Callable[[], Awaitable[int]]
    due: float = field(default=0.0)
    # How soon it is due again after an outage has kept it from its work, where that is sooner.
    again: float | None = None
    # Whether no other waits for it, however long it takes, and it for none.
    alone: bool = False
    # Whether a server is ready however long it takes.
    may_take_long: bool = False
    # When it ended last, however it ended; and how often it failed for another reason than an outage.
    ended: float = field(default_factory=time.monotonic)
    failures: int = 0
    outage: Outage = field(init=False)

    def __post_init__(self) -> None:
        # One Outage per duty: a duty that ran no statement must not report recovery.
        self.outage = Outage(self.name)


class Janitor:
    """Runs its duties one after the other, and beside them those that are alone.

    Each duty is safe to run on every server at once.
    """

    def __init__(self, duties: list[Duty], observer: Observer | None = None) -> None:
        self._duties = duties
        self._observer = observer or Observer()

    async def run(self) -> None:
        """Do what is due, until cancelled."""
        for duty in self._duties:
            # Without a first value, the first of many leases that run out would not be seen as a rise.
            self._observer.done(duty.name, 0)
        together = [duty for duty in self._duties if not duty.alone]
        alone = [[duty] for duty in self._duties if duty.alone]
        await asyncio.gather(*map(self._keep_doing, [together, *alone] if together else alone))

    async def _keep_doing(self, duties: list[Duty]) -> None:
        while True:
            for duty in duties:
                if duty.due <= time.monotonic():
                    duty.due = time.monotonic() + duty.every
                    await self._do(duty)
            await asyncio.sleep(max(0.0, min(duty.due for duty in duties) - time.monotonic()))

    def overdue(self) -> str | None:
        """Return which duty has not run for three of its intervals (and 10 s), in words, or None."""
        for duty in self._duties:
            late = time.monotonic() - duty.ended
            if late > max(MISSED * duty.every, SHORTEST_DELAY) and not duty.may_take_long:
                return f"the duty to {duty.name} has not run for {late:.0f} s"
        return None

    async def _do(self, duty: Duty) -> None:
        try:
            done = await duty.run()
            duty.outage.ended()
        except Unavailable as error:
            duty.outage.began(error)
            if duty.again is not None:
                duty.due = min(duty.due, time.monotonic() + duty.again)
        except Exception:
            # The clock does not stop for it.
            duty.failures += 1
            log.exception("janitor.failed", duty=duty.name)
        else:
            if done:
                self._observer.done(duty.name, done)
                log.info("janitor.done", duty=duty.name, count=done)
        finally:
            duty.ended = time.monotonic()
