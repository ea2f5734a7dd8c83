"""Workers that keep the jobs that a dispatcher gives them."""

from collections.abc import Sequence

from tests.engine.parts import WatchedLane, until
from tests.support.postgres.queue_under_test import new_job
from thumbq_server.domain.job import ClaimedJob, NewJob
from thumbq_server.engine.dispatching.credits import Claimant
from thumbq_server.engine.dispatching.dispatcher import Dispatcher
from thumbq_server.storage.postgres.errors import Unavailable


class Worker:
    """A worker that asks for jobs, and fails when it gets more than it asked for."""

    def __init__(self, dispatcher: Dispatcher, worker: int) -> None:
        self.deliveries: list[list[ClaimedJob]] = []
        self.absences: list[Unavailable] = []
        self.claimant = Claimant(worker, 30, self._deliver, self.absences.append)
        self._dispatcher = dispatcher
        self._asked = 0

    @property
    def jobs(self) -> list[int]:
        """Every job that it was given, in order."""
        return [job.job_id for jobs in self.deliveries for job in jobs]

    @property
    def wanted(self) -> int:
        """The number of jobs that it asked for and was not given."""
        return self._asked - len(self.jobs)

    def ask(self, count: int, *, fresh_look: bool = False) -> None:
        self._asked += count
        self._dispatcher.add_credits(self.claimant, count, fresh_look=fresh_look)

    def leave(self) -> None:
        self._dispatcher.remove(self.claimant)

    async def has(self, count: int) -> None:
        """Wait until it was given `count` jobs in all."""
        await until(lambda: len(self.jobs) >= count)
        assert len(self.jobs) == count

    def _deliver(self, claimed: Sequence[ClaimedJob]) -> None:
        self.deliveries.append(list(claimed))
        assert self.wanted >= 0


def lane_of(dispatcher: Dispatcher) -> WatchedLane:
    """Return the lane of its claims."""
    assert isinstance(dispatcher._lane, WatchedLane)
    return dispatcher._lane


def requests(count: int, *, first_model: int = 1) -> list[NewJob]:
    """Return requests for as many models."""
    return [new_job(model) for model in range(first_model, first_model + count)]


def given(workers: list[Worker], count: int) -> bool:
    """Return whether the workers have `count` jobs together."""
    return sum(len(worker.jobs) for worker in workers) == count


async def found_nothing(*workers: Worker) -> None:
    """Wait until a claim for all of them is over: no claim is in flight when the next job comes."""
    await until(lambda: all(worker.deliveries == [[]] for worker in workers))
