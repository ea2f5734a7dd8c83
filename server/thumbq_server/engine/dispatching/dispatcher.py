"""The match of waiting workers and ready jobs."""

import asyncio
import random
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from thumbq_server.domain.columns import NOTHING, Claimed
from thumbq_server.domain.job import Token
from thumbq_server.engine import job_lines
from thumbq_server.engine.dispatching.credits import Claimant, Credits
from thumbq_server.engine.dispatching.due_jobs import DueJobs
from thumbq_server.engine.outage import Outage
from thumbq_server.engine.traces import Traces
from thumbq_server.engine.wakeup import WakeUp
from thumbq_server.storage.postgres.errors import Unavailable
from thumbq_server.storage.postgres.lane import Lane
from thumbq_server.storage.transitions.claim import ClaimRequest, claim
from thumbq_server.storage.transitions.release import release_claim

# Half of it costs a tenth more CPU a job; more would gain little, and keep the first worker waiting. With the largest
# options 2,000 jobs are 13.4 MiB, and a message may have 16.
CLAIM_LIMIT = 2000
_RETRY_SECONDS = 0.5


class Reservation:
    """Credits that are taken for one claim: `claimants` has one entry per credit, in the order of their turns."""

    def __init__(self, claimants: list[Claimant], history: int) -> None:
        self.claimants = claimants
        # The version of the history whose sessions they name.
        self.history = history
        self.request = ClaimRequest(
            [claimant.session for claimant in claimants],
            [claimant.lease_seconds for claimant in claimants],
            random.getrandbits(62),
        )


class Dispatcher:
    """Keeps one claim in flight, as large as the free credits, for as long as jobs are found.

    A claim that came back short means that nothing is due: the dispatcher sleeps until it is woken (an enqueue, a
    release, LISTEN), a retry that it knows of is due, or `poll` seconds have passed. The poll is the truth; all the
    rest are hints.
    """

    def __init__(
        self,
        lane: Lane,
        release: Callable[[Sequence[Token], int], Any],
        *,
        poll: float = 1.0,
        on_claimed: Callable[[], None] = lambda: None,
        kinds: tuple[str, ...] = (),
        traces: Traces | None = None,
    ) -> None:
        self._lane = lane
        self._kinds = kinds
        self._release = release
        self._on_claimed = on_claimed
        self._traces = traces
        self._jobs_claimed = 0
        self._credits = Credits()
        self._wake_up = WakeUp(poll)
        self._due = DueJobs()
        self._claiming = False
        self._paused = False
        self._ending = False
        self._outage = Outage("dispatcher")
        # Claims that broke off: they may have been committed.
        self._doubtful_claims: list[int] = []

    def add_credits(self, claimant: Claimant, count: int, *, fresh_look: bool = False) -> None:
        """Let `claimant` have `count` more jobs. `fresh_look`: claim even if no job is known to be due."""
        self._credits.add(claimant, count)
        if fresh_look:
            self._due.expect()
        self._look_again()
        if self._paused:
            claimant.unavailable(_going_away())

    def remove(self, claimant: Claimant) -> None:
        """Forget `claimant` and its credits. Jobs that a claim in flight brings it are released, unspent."""
        self._credits.remove(claimant)

    def wake(self) -> None:
        """Signal that a job may be due."""
        self._due.expect()
        self._look_again()

    def keeps_jobs_back(self) -> bool:
        """Return whether a claimant gets no jobs, since its caller has as many as it may have."""
        return self._credits.keeps_back()

    def jobs_claimed(self) -> int:
        """Return how many jobs were claimed since the start."""
        return self._jobs_claimed

    def pause(self) -> None:
        """Start no further claim, and tell those that wait for one (shutdown)."""
        self._paused = True
        for claimant in self._credits.waiting():
            claimant.unavailable(_going_away())

    def end(self) -> None:
        """Let `run` return when nothing is left to hand out or to give back: the last claimant is gone."""
        self._ending = True
        self._wake_up.set()

    def go_on(self) -> None:
        """Let `run` go on after `end`, if it has not returned: there are claimants again."""
        self._ending = False

    def forget(self, error: Unavailable) -> None:
        """Drop all claimants, and tell them that no jobs will come: the sessions that they name are gone."""
        for claimant in self._credits.waiting():
            self.remove(claimant)
            claimant.unavailable(error)

    def reserve(self, count: int) -> Reservation:
        """Reserve credits for up to `count` jobs that are about to be enqueued, if no other job is known to be due.

        Reserve none while a claim is in flight: workers whose credits are in it would miss their share. Follow with
        `accept` or `withdraw`.
        """
        is_busy = self._due.expected or self._claiming
        return self._reservation([] if is_busy else self._reserve(min(count, CLAIM_LIMIT)))

    def accept(self, reservation: Reservation, jobs: Claimed) -> None:
        """Hand out the jobs that an enqueue claimed for a reservation; there may be fewer jobs than credits."""
        if reservation.claimants:
            self._hand_out(reservation, jobs)
        self._look_again()

    def withdraw(self, reservation: Reservation) -> None:
        """Take back the credits of an enqueue that broke off; jobs that it may have claimed are released."""
        if reservation.claimants:
            self._doubtful_claims.append(reservation.request.claim_id)
            self._give_back(reservation.claimants)
            self.wake()

    def _look_again(self) -> None:
        """Wake `run`, if there is anything for it to do. A signal for each enqueue would wake it for nothing."""
        if self._doubtful_claims or (self._due.expected and self._credits):
            self._wake_up.set()

    async def run(self) -> None:
        """Match until cancelled, or until `end` was called and nothing is left to hand out or to give back."""
        to_hand_out: tuple[Reservation, Claimed] | None = None
        while True:
            reservation = self._reservation(self._take_turn())
            claimants = reservation.claimants
            self._claiming = bool(claimants)
            # A full claim leaves others waiting. When it comes back short nothing is due for them either, so they are
            # told. Those that are in the claim hear with their share.
            others = set(self._credits.waiting()) - set(claimants) if len(claimants) == CLAIM_LIMIT else set()
            is_needed = claimants or self._doubtful_claims
            in_flight = asyncio.create_task(self._claim(reservation)) if is_needed else None
            if in_flight is not None:
                await asyncio.sleep(0)  # sends the next claim before messages are built for the last one
            if to_hand_out is not None:
                self._hand_out(*to_hand_out)
                to_hand_out = None
            if in_flight is not None:
                jobs = await in_flight
                to_hand_out = (reservation, jobs) if jobs is not None else None
                if jobs is not None and len(jobs) < len(claimants):
                    _found_nothing(others)
            elif self._ending:
                return
            elif not (self._due.expected and self._credits.can_claim()) or self._paused:
                await self._sleep()

    async def _sleep(self) -> None:
        """Wait for a signal or the poll. Credits are signals too, and do not put the poll off."""
        poll = self._wake_up.poll
        await self._wake_up.wait(self._due.next_look(poll))
        self._due.expect_after(poll)

    def _take_turn(self) -> list[Claimant]:
        if not self._due.expected:
            return []
        claimants = self._reserve(CLAIM_LIMIT)
        self._due.ask(len(claimants))
        return claimants

    def _reservation(self, claimants: list[Claimant]) -> Reservation:
        return Reservation(claimants, self._lane.history.version)

    def _reserve(self, limit: int) -> list[Claimant]:
        return [] if self._paused else self._credits.reserve(limit)

    async def _claim(self, reservation: Reservation) -> Claimed | None:
        """Return the jobs for claimants; None without any, or when PostgreSQL was away: the credits are back.

        Before that, release what broken-off claims may have taken.
        """
        claimants, request = reservation.claimants, reservation.request
        try:
            while self._doubtful_claims:
                await self._undo(self._doubtful_claims[0])
                del self._doubtful_claims[0]
            if not claimants:
                self._outage.ended()
                self._due.expect()
                return None
            self._lane.history.check(reservation.history)
            self._doubtful_claims.append(request.claim_id)
            jobs = await claim(self._lane, request, self._kinds)
            if self._traces:
                jobs = await self._traces.of_claimed(self._lane, jobs)
            self._doubtful_claims.remove(request.claim_id)
            self._outage.ended()
        except Unavailable as error:
            self._outage.began(error)
            for claimant in dict.fromkeys(claimants):
                claimant.unavailable(error)
            self._give_back(claimants)
            await self._lane.history.comeback.pause(_RETRY_SECONDS)
            self._due.expect()
            return None
        self._due.found(len(jobs), len(claimants))
        return jobs

    async def _undo(self, claim_id: int) -> None:
        """Release what a broken-off claim has taken.

        Its commit may still wait for a standby, and nobody sees its leases until then. The commit of a beat waits
        behind it. Both waits end at the same time, so what the first look may miss, the second one finds.
        """
        for _ in range(2):
            await self._lane.run(self._lane.history.beat)
            if await release_claim(self._lane, claim_id):
                return

    def _hand_out(self, reservation: Reservation, jobs: Claimed) -> None:
        """Give each claimant its jobs in one call."""
        claimants = reservation.claimants
        shares = self._credits.spend(claimants, jobs)
        self._tell_if_paused(claimants[len(jobs) :])
        for claimant, share in shares.items():
            if not claimant.gone:
                claimant.deliver(share)
            elif share:
                self._release(share.tokens(), reservation.history)
        if jobs:
            job_lines.claimed(jobs)
            self._jobs_claimed += len(jobs)
            self._on_claimed()

    def _give_back(self, claimants: Sequence[Claimant]) -> None:
        self._credits.give_back(claimants)
        self._tell_if_paused(claimants)

    def _tell_if_paused(self, claimants: Sequence[Claimant]) -> None:
        if self._paused:
            for claimant in dict.fromkeys(claimants):
                if not claimant.gone:
                    claimant.unavailable(_going_away())


def _found_nothing(claimants: Iterable[Claimant]) -> None:
    for claimant in claimants:
        if not claimant.gone:
            claimant.deliver(NOTHING)


def _going_away() -> Unavailable:
    return Unavailable("the server is going away")
