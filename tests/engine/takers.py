"""Workers that keep what a dispatcher gives them."""

from collections.abc import Sequence

from tests.engine.parts import WatchedLane, until
from thumbq_server.domain.job import ClaimedJob
from thumbq_server.engine.dispatcher import Claimant, Dispatcher
from thumbq_server.storage.postgres.errors import Unavailable


class Taker:
    """Somebody who asks for jobs, and never gets more than that."""

    def __init__(self, dispatcher: Dispatcher, worker: int) -> None:
        self.deliveries: list[list[ClaimedJob]] = []
        self.absences: list[Unavailable] = []
        self.claimant = Claimant(worker, 30, self._deliver, self.absences.append)
        self._dispatcher = dispatcher
        self._asked = 0

    @property
    def jobs(self) -> list[int]:
        """Every job it was given, in order."""
        return [job.job_id for jobs in self.deliveries for job in jobs]

    @property
    def wanted(self) -> int:
        """What it asked for and was not given."""
        return self._asked - len(self.jobs)

    def ask(self, count: int, *, fresh_look: bool = False) -> None:
        self._asked += count
        self._dispatcher.add_credits(self.claimant, count, fresh_look=fresh_look)

    def leave(self) -> None:
        self._dispatcher.remove(self.claimant)

    async def has(self, count: int) -> None:
        """Wait until it was given so many."""
        await until(lambda: len(self.jobs) >= count)
        assert len(self.jobs) == count

    def _deliver(self, claimed: Sequence[ClaimedJob]) -> None:
        self.deliveries.append(list(claimed))
        assert self.wanted >= 0


def lane_of(dispatcher: Dispatcher) -> WatchedLane:
    """The lane of its claims."""
    assert isinstance(dispatcher._lane, WatchedLane)
    return dispatcher._lane
