"""The match of waiting workers and ready jobs."""

import asyncio
import contextlib
import random
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from thumbq_server.domain.job import ClaimedJob, Token
from thumbq_server.engine.outage import Outage
from thumbq_server.storage.postgres.errors import Unavailable
from thumbq_server.storage.postgres.lane import Lane
from thumbq_server.storage.transitions.claim import ClaimRequest, claim
from thumbq_server.storage.transitions.release import release_claim

# A larger claim would gain little, and keep the first worker waiting.
CLAIM_LIMIT = 1000
_RETRY_SECONDS = 0.5


class Claimant:
    """Somebody who wants jobs: a stream, or a unary call that waits.

    `deliver` gets claimed jobs; none mean that a claim found nothing for it. `unavailable` is
    told when PostgreSQL was away, or when no more jobs will come. Both must not block.
    """

    __slots__ = ("credits", "deliver", "gone", "lease_seconds", "unavailable", "worker")

    def __init__(
        self,
        worker: int,
        lease_seconds: int,
        deliver: Callable[[Sequence[ClaimedJob]], None],
        unavailable: Callable[[Unavailable], None] = lambda _: None,
    ) -> None:
        self.worker = worker
        self.lease_seconds = lease_seconds
        self.deliver = deliver
        self.unavailable = unavailable
        self.credits = 0
        self.gone = False


class Offer:
    """Credits that are reserved for one claim, an entry of `slots` for each."""

    def __init__(self, slots: list[Claimant]) -> None:
        self.slots = slots
        self.takers = ClaimRequest(
            [slot.worker for slot in slots], [slot.lease_seconds for slot in slots], random.getrandbits(62)
        )


class Dispatcher:
    """One claim in flight, as large as the free credits, for as long as jobs are found.

    A claim that came back short means that nothing is due: the dispatcher sleeps until it is woken (an enqueue, a
    release, LISTEN), a retry it knows of falls due, or `poll` seconds have passed, which is the truth behind all hints.
    """

    def __init__(
        self,
        lane: Lane,
        release: Callable[[Sequence[Token]], Any],
        *,
        poll: float = 1.0,
        claimed: Callable[[int], None] = lambda _: None,
    ) -> None:
        self._lane = lane
        self._release = release
        self._poll = poll
        self._claimed = claimed
        self._hungry: dict[Claimant, None] = {}
        self._may_have_jobs = True
        self._claiming = False
        self._wake = asyncio.Event()
        self._paused = False
        self._outage = Outage("dispatcher")
        self._doubtful_claims: list[int] = []

    def add_credits(self, claimant: Claimant, count: int, *, fresh_look: bool = False) -> None:
        """Let `claimant` have `count` more jobs. `fresh_look`: claim even if nothing is known to be due."""
        claimant.credits += count
        self._hungry[claimant] = None
        self._may_have_jobs |= fresh_look
        self._wake.set()
        if self._paused:
            claimant.unavailable(_going())

    def remove(self, claimant: Claimant) -> None:
        """Forget `claimant` and its credits. What a claim in flight brings it is released, unspent."""
        claimant.gone = True
        claimant.credits = 0
        self._hungry.pop(claimant, None)

    def wake(self) -> None:
        """Say that a job may have become due."""
        self._may_have_jobs = True
        self._wake.set()

    def wake_in(self, seconds: float) -> None:
        """Say that a job becomes due so many seconds from now."""
        asyncio.get_running_loop().call_later(seconds + 0.001, self.wake)

    def pause(self) -> None:
        """Start no further claim, and tell those who wait for one (shutdown)."""
        self._paused = True
        for claimant in list(self._hungry):
            claimant.unavailable(_going())

    def offer(self, count: int) -> Offer:
        """Credits for up to `count` jobs that are about to be enqueued, if nothing else is known to be due.

        None while a claim is in flight: workers whose credits are in there would miss their share. The credits are
        taken, until `accept` or `withdraw` is told what has become of them.
        """
        return Offer([] if self._may_have_jobs or self._claiming else self._reserve(min(count, CLAIM_LIMIT)))

    def accept(self, offer: Offer, jobs: Sequence[ClaimedJob]) -> None:
        """Hand out the jobs that were claimed for an offer, which may be fewer."""
        taken = offer.slots[: len(jobs)]
        self._give_back(offer.slots[len(jobs) :])
        self._hand_out(taken, list(jobs))

    def withdraw(self, offer: Offer) -> None:
        """Take back an offer whose enqueue broke off; what it may have claimed is released."""
        if offer.slots:
            self._doubtful_claims.append(offer.takers.claim_id)
            self._give_back(offer.slots)
            self.wake()

    async def run(self) -> None:
        """Match for ever."""
        claimed: tuple[list[Claimant], list[ClaimedJob]] | None = None
        while True:
            slots = self._take_turn()
            self._claiming = bool(slots)
            claim = asyncio.create_task(self._claim(slots)) if slots else None
            if claim is not None:
                await asyncio.sleep(0)  # the next claim is on its way before messages are built for the last one
            if claimed is not None:
                self._hand_out(*claimed)
                claimed = None
            if claim is not None:
                jobs = await claim
                claimed = (slots, jobs) if jobs is not None else None
            elif not (self._may_have_jobs and self._hungry) or self._paused:
                await self._sleep()

    async def _sleep(self) -> None:
        self._wake.clear()
        with contextlib.suppress(TimeoutError):
            # not wait_for: before Python 3.12 it forgets a cancellation that comes together with the event
            async with asyncio.timeout(self._poll):
                await self._wake.wait()
            return
        self._may_have_jobs = True

    def _take_turn(self) -> list[Claimant]:
        if not self._may_have_jobs:
            return []
        slots = self._reserve(CLAIM_LIMIT)
        self._may_have_jobs = not slots
        return slots

    def _reserve(self, limit: int) -> list[Claimant]:
        """One entry for each credit of the next claim, the claimants in turn. Reserved credits are taken."""
        if not self._hungry or self._paused:
            return []
        if len(self._hungry) == 1:
            (claimant,) = self._hungry
            count = min(claimant.credits, limit)
            slots = [claimant] * count
            claimant.credits -= count
        else:
            slots = []
            turn = deque(self._hungry)
            while turn and len(slots) < limit:
                claimant = turn.popleft()
                claimant.credits -= 1
                slots.append(claimant)
                if claimant.credits:
                    turn.append(claimant)
        for claimant in [claimant for claimant in self._hungry if not claimant.credits]:
            del self._hungry[claimant]
        return slots

    async def _claim(self, slots: list[Claimant]) -> list[ClaimedJob] | None:
        """The jobs for `slots`; None when PostgreSQL was away, and the credits are given back.

        A claim that broke off may have been committed: what it took is released before the next one.
        """
        try:
            while self._doubtful_claims:
                await release_claim(self._lane, self._doubtful_claims[0])
                del self._doubtful_claims[0]
            takers = Offer(slots).takers
            self._doubtful_claims.append(takers.claim_id)
            jobs = await claim(self._lane, takers)
            self._doubtful_claims.remove(takers.claim_id)
            self._outage.ended()
        except Unavailable as error:
            self._outage.began(error)
            for claimant in dict.fromkeys(slots):
                claimant.unavailable(error)
            self._give_back(slots)
            await asyncio.sleep(_RETRY_SECONDS)
            self._may_have_jobs = True
            return None
        if len(jobs) == len(slots):
            self._may_have_jobs = True
        return jobs

    def _hand_out(self, slots: list[Claimant], jobs: list[ClaimedJob]) -> None:
        """Give each claimant its jobs in one call, and the credits that found no job back."""
        shares: dict[Claimant, list[ClaimedJob]] = {claimant: [] for claimant in dict.fromkeys(slots)}
        if len(shares) == 1:
            shares[slots[0]] = jobs
        else:
            for slot, job in zip(slots, jobs, strict=False):
                shares[slot].append(job)
        self._give_back(slots[len(jobs) :])
        for claimant, share in shares.items():
            if not claimant.gone:
                claimant.deliver(share)
            elif share:
                self._release([job.token for job in share])
            if share and claimant in self._hungry:
                # who got something goes to the end of the line
                del self._hungry[claimant]
                self._hungry[claimant] = None
        if jobs:
            self._claimed(len(jobs))

    def _give_back(self, slots: Sequence[Claimant]) -> None:
        for claimant in slots:
            if not claimant.gone:
                claimant.credits += 1
                self._hungry.setdefault(claimant)
                if self._paused:
                    claimant.unavailable(_going())


def _going() -> Unavailable:
    return Unavailable("the server is going away")
