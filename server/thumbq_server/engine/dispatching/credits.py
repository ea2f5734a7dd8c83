"""Credits: how many jobs each claimant may have, and whose turn it is. Synchronous, without I/O."""

from collections import Counter, deque
from collections.abc import Callable, Sequence

from thumbq_server.domain.columns import NOTHING, Claimed
from thumbq_server.engine.in_flight.holder import UNBOUNDED, Holder
from thumbq_server.storage.postgres.errors import Unavailable


class Claimant:
    """A stream, or a unary call that waits: it wants jobs for a session.

    `deliver` gets claimed jobs; an empty list means that a claim found nothing for it. `unavailable` is called when
    PostgreSQL was away, or when no more jobs will come. Neither may block. `credits` and `gone` are written by Credits
    alone. Jobs of a claimant count for its `holder`.
    """

    __slots__ = ("credits", "deliver", "gone", "holder", "lease_seconds", "session", "unavailable")

    def __init__(
        self,
        session: int,
        lease_seconds: int,
        deliver: Callable[[Claimed], None],
        unavailable: Callable[[Unavailable], None] = lambda _: None,
        holder: Holder = UNBOUNDED,
    ) -> None:
        self.session = session
        self.lease_seconds = lease_seconds
        self.deliver = deliver
        self.unavailable = unavailable
        self.holder = holder
        self.credits = 0
        self.gone = False


class Credits:
    """The claimants that wait for jobs, in the order of their turns.

    Every credit is in one of three places: with its claimant, in a reservation, or spent on a job.
    """

    def __init__(self) -> None:
        self._waiting: dict[Claimant, None] = {}

    def __len__(self) -> int:
        return len(self._waiting)

    def waiting(self) -> list[Claimant]:
        """Return the claimants that have credits, the next one first."""
        return list(self._waiting)

    def can_claim(self) -> bool:
        """Return whether a claimant that waits may have a job."""
        return any(claimant.holder.room > 0 for claimant in self._waiting)

    def keeps_back(self) -> bool:
        """Return whether a claimant waits whose holder has all the jobs that it may have."""
        return any(claimant.holder.is_told for claimant in self._waiting)

    def add(self, claimant: Claimant, count: int) -> None:
        """Let `claimant` have `count` more jobs."""
        claimant.credits += count
        self._waiting[claimant] = None

    def remove(self, claimant: Claimant) -> None:
        """Forget `claimant` and its credits, those in reservations included."""
        claimant.gone = True
        claimant.credits = 0
        self._waiting.pop(claimant, None)

    def reserve(self, limit: int) -> list[Claimant]:
        """Take up to `limit` credits, one from each claimant in turn. Return one entry per credit, in that order.

        Each takes room from its holder. Claimants whose holder has no room keep their credits.
        """
        if len(self._waiting) == 1:
            (claimant,) = self._waiting
            count = max(0, min(claimant.credits, limit, claimant.holder.room))
            reserved = [claimant] * count
            claimant.credits -= count
            claimant.holder.take(count)
        else:
            reserved = self._reserve_in_turn(limit)
            for claimant, count in Counter(reserved).items():
                claimant.holder.take(count)
        for claimant in [claimant for claimant in self._waiting if not claimant.credits]:
            del self._waiting[claimant]
        return reserved

    def _reserve_in_turn(self, limit: int) -> list[Claimant]:
        scarce = {claimant.holder: claimant.holder.room for claimant in self._waiting if claimant.holder.room < limit}
        reserved: list[Claimant] = []
        turn = deque(self._waiting)
        while turn and len(reserved) < limit:
            claimant = turn.popleft()
            if scarce and claimant.holder in scarce:
                if scarce[claimant.holder] <= 0:
                    continue
                scarce[claimant.holder] -= 1
            claimant.credits -= 1
            reserved.append(claimant)
            if claimant.credits:
                turn.append(claimant)
        return reserved

    def give_back(self, reserved: Sequence[Claimant]) -> None:
        """Return reserved credits to those claimants that are still here, and their room to the holders."""
        for claimant, count in Counter(reserved).items():
            claimant.holder.give_back(count)
            if not claimant.gone:
                claimant.credits += count
                self._waiting.setdefault(claimant)

    def spend(self, reserved: Sequence[Claimant], jobs: Claimed) -> dict[Claimant, Claimed]:
        """Spend one reserved credit per job and give the rest back. Return the share of each claimant.

        Shares may be empty. A claimant that got jobs goes to the end of the line.
        """
        shares = dict.fromkeys(reserved, NOTHING)
        if len(shares) == 1:
            shares[reserved[0]] = jobs
        else:
            places: dict[Claimant, list[int]] = {}
            for place, claimant in enumerate(reserved[: len(jobs)]):
                places.setdefault(claimant, []).append(place)
            shares |= {claimant: jobs.at(of_one) for claimant, of_one in places.items()}
        self.give_back(reserved[len(jobs) :])
        for claimant, share in shares.items():
            if share:
                claimant.holder.hold(claimant.session, len(share))
            if share and claimant in self._waiting:
                del self._waiting[claimant]
                self._waiting[claimant] = None
        return shares
