"""The work of an operator: to cancel jobs, and to retry them."""

from collections.abc import Sequence

from thumbq_server.domain.job import Cancellation, CancelVerdict, JobStatus, RetryVerdict
from thumbq_server.domain.records import JobRecord, WorkerRecord
from thumbq_server.domain.refusals import ALREADY_ENDED, NOT_ENDED, WrongState
from thumbq_server.engine.queue import Queue
from thumbq_server.engine.readers.views import Views
from thumbq_server.engine.sessions.server_messages import LeaseCancelled, encode
from thumbq_server.storage import workers
from thumbq_server.storage.postgres.database import Database
from thumbq_server.storage.postgres.notify import broadcast
from thumbq_server.storage.reads.jobs import live_jobs_of_model
from thumbq_server.storage.transitions.cancel import cancel
from thumbq_server.storage.transitions.retry import retry

# A worker that was heard of within so many seconds counts as connected; a long poll may be silent for 30.
_LATELY = 35.0
_MOST_WORKERS = 10_000


class Operator:
    """Cancels and retries jobs. Every method raises Unavailable while PostgreSQL is away."""

    def __init__(self, database: Database, queue: Queue, views: Views) -> None:
        self._database = database
        self._lane = queue.extend_lane
        self._dispatcher = queue.dispatcher
        self._views = views

    async def cancel(self, job_id: int) -> JobRecord:
        """Cancel a job that is Pending or Processing; a second time changes nothing. Raises NotFound, WrongState."""
        [cancellation] = await self._cancel([job_id])
        if cancellation.verdict is CancelVerdict.ALREADY_ENDED:
            raise WrongState(ALREADY_ENDED)
        return await self._views.job(job_id)

    async def cancel_model(self, model_id: int) -> list[int]:
        """Cancel all jobs of a model that are Pending or Processing. Return the jobs."""
        cancellations = await self._cancel(await live_jobs_of_model(self._database, model_id))
        return [answer.job_id for answer in cancellations if answer.verdict is CancelVerdict.CANCELLED]

    async def retry(self, job_id: int) -> JobRecord:
        """Start an ended job again, or a waiting retry at once. Raises NotFound, WrongState."""
        [retrial] = await retry(self._lane, [job_id])
        self._dispatcher.wake()
        if retrial.verdict is RetryVerdict.PROCESSING:
            raise WrongState(NOT_ENDED.format(status=JobStatus.PROCESSING))
        return await self._views.job(job_id)

    async def workers(self) -> list[WorkerRecord]:
        """Return the sessions of workers that are connected, or were a moment ago."""
        return await workers.lately(self._database, _LATELY, _MOST_WORKERS)

    async def _cancel(self, job_ids: Sequence[int]) -> list[Cancellation]:
        """Cancel the jobs that are alive, and tell their workers, on whatever server their streams are."""
        cancellations = await cancel(self._lane, job_ids)
        messages = [
            encode(LeaseCancelled(answer.session, answer.lease))
            for answer in cancellations
            if answer.session is not None and answer.lease is not None
        ]
        if messages:
            await broadcast(self._database, messages)
        return cancellations
