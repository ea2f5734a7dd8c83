"""What an operator does to jobs: cancel them, and retry them."""

from collections.abc import Sequence

from thumbq_server.domain.refusals import ALREADY_ENDED, NOT_ENDED, WrongState
from thumbq_server.engine.queue import Queue
from thumbq_server.engine.server_messages import LeaseCancelled, encode
from thumbq_server.engine.views import Views
from thumbq_server.storage.postgres.database import Database, Row
from thumbq_server.storage.postgres.notify import broadcast
from thumbq_server.storage.reads.jobs import live_jobs_of_model
from thumbq_server.storage.transitions.cancel import cancel
from thumbq_server.storage.transitions.retry import retry


class Operator:
    """Cancels and retries jobs. Every method raises Unavailable while PostgreSQL is away."""

    def __init__(self, database: Database, queue: Queue, views: Views) -> None:
        self._database = database
        self._lane = queue.extend_lane
        self._dispatcher = queue.dispatcher
        self._views = views

    async def cancel(self, job_id: int) -> Row:
        """Cancel a job that is Pending or Processing; a second time changes nothing. Raises NotFound, WrongState."""
        cancelled = await self._cancel([job_id])
        job = await self._views.job(job_id)
        if not cancelled and job["status"] != "Cancelled":
            raise WrongState(ALREADY_ENDED)
        return job

    async def cancel_model(self, model_id: int) -> list[int]:
        """Cancel all jobs of a model that are Pending or Processing. Return the jobs."""
        return await self._cancel(await live_jobs_of_model(self._database, model_id))

    async def retry(self, job_id: int) -> Row:
        """Start an ended job again, or a waiting retry at once. Raises NotFound, WrongState."""
        done = await retry(self._lane, [job_id])
        self._dispatcher.wake()
        job = await self._views.job(job_id)
        if not done and job["status"] != "Pending":
            raise WrongState(NOT_ENDED.format(status=job["status"]))
        return job

    async def _cancel(self, job_ids: Sequence[int]) -> list[int]:
        """Cancel those that are alive, and tell their workers, on whatever server their streams are."""
        cancelled = await cancel(self._lane, job_ids)
        messages = [encode(LeaseCancelled(job.worker, job.lease)) for job in cancelled if job.worker is not None]
        if messages:
            await broadcast(self._database, messages)
        return [job.job_id for job in cancelled]
