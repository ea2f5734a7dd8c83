"""Jobs that come back from a worker without having arrived there. Synchronous, without I/O."""

from collections import OrderedDict
from collections.abc import Iterable

from thumbq_server.domain.job import Failure, Token

# A worker may fail to confirm a job this many times for free. The next time costs an attempt, and the count begins
# again.
FREE_RETURNS = 2
_KNOWN = 10_000


class Returns:
    """Counts, for each job and worker, the deliveries that the worker never confirmed.

    A broken connection costs a job nothing. But a worker that hangs whenever it gets a job never confirms any, and
    without a bound the job would go to it again and again.
    """

    def __init__(self, known: int = _KNOWN) -> None:
        self._known = known
        self._counts: OrderedDict[tuple[int, str], int] = OrderedDict()

    def sort(self, worker_id: str, tokens: Iterable[Token]) -> tuple[list[Token], list[Failure]]:
        """Note that these jobs came back. Return the leases to give back unspent, and the attempts that failed."""
        unspent: list[Token] = []
        failed: list[Failure] = []
        for token in tokens:
            if self._note(token.job_id, worker_id) <= FREE_RETURNS:
                unspent.append(token)
            else:
                failed.append(Failure(*token, _message(worker_id), retryable=True, retry_delay=None))
        return unspent, failed

    def forget(self) -> None:
        """Drop all counts: another history gives the ids of jobs to others."""
        self._counts.clear()

    def _note(self, job_id: int, worker_id: str) -> int:
        count = self._counts.pop((job_id, worker_id), 0) + 1
        if count <= FREE_RETURNS:
            self._counts[job_id, worker_id] = count
            if len(self._counts) > self._known:
                self._counts.popitem(last=False)
        return count


def _message(worker_id: str) -> str:
    return (
        f"Worker {worker_id} was sent the job {FREE_RETURNS + 1} times and never confirmed it;"
        " its event loop may be blocked, or its connection breaks"
    )
