"""The work of an operator: to cancel and retry jobs, to forget models, to pause the queue, and to prune it."""

import time
from collections.abc import Sequence
from typing import NamedTuple

from thumbq_server.domain.job import Cancellation, CancelVerdict, ForgottenModel, JobStatus, RetryVerdict, Token
from thumbq_server.domain.operations import Pause, Pruned
from thumbq_server.domain.records import JobRecord
from thumbq_server.domain.refusals import ALREADY_ENDED, NOT_ENDED, WrongState
from thumbq_server.engine.queue import Queue
from thumbq_server.engine.readers.views import Views
from thumbq_server.engine.sessions.server_messages import LeaseCancelled, encode
from thumbq_server.engine.upkeep.duties import PRUNE_LIMIT, prune_jobs_for
from thumbq_server.metrics.observer import Observer
from thumbq_server.storage import maintenance
from thumbq_server.storage.pause import begin_pause, end_pause
from thumbq_server.storage.postgres.database import Database
from thumbq_server.storage.postgres.notify import broadcast
from thumbq_server.storage.reads.jobs import live_jobs_of_model
from thumbq_server.storage.reads.operations import dead_letters_among, find_dead_letters
from thumbq_server.storage.transitions.cancel import cancel
from thumbq_server.storage.transitions.forget import forget
from thumbq_server.storage.transitions.retry import retry

# Dead letters that one call starts again, and seconds that one call prunes for.
REDRIVE_LIMIT = 1000
PRUNE_SECONDS = 2.0


class Redriven(NamedTuple):
    """How many dead letters started again. Further ones are below `next_below`; None: there are none."""

    redriven: int
    next_below: int | None


class Operator:
    """Intervenes. Every method raises Unavailable while PostgreSQL is away."""

    def __init__(self, database: Database, queue: Queue, views: Views, observer: Observer) -> None:
        self._database = database
        self._observer = observer
        self._lane = queue.extend_lane
        self._dispatcher = queue.dispatchers
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

    async def forget_model(self, model_id: int) -> ForgottenModel:
        """Delete all that is known of a model, and tell the workers that hold jobs of it."""
        forgotten = await forget(self._lane, model_id)
        await self._tell_workers(forgotten.leases)
        return forgotten

    async def retry(self, job_id: int) -> JobRecord:
        """Start an ended job again, or a waiting retry at once. Raises NotFound, WrongState."""
        [retrial] = await retry(self._lane, [job_id])
        self._dispatcher.wake()
        if retrial.verdict is RetryVerdict.PROCESSING:
            raise WrongState(NOT_ENDED.format(status=JobStatus.PROCESSING))
        return await self._views.job(job_id)

    async def cancel_jobs(self, job_ids: Sequence[int]) -> list[int]:
        """Cancel those of the jobs that are Pending or Processing. Return them."""
        cancellations = await self._cancel(list(dict.fromkeys(job_ids)))
        return [answer.job_id for answer in cancellations if answer.verdict is CancelVerdict.CANCELLED]

    async def redrive(self, job_ids: Sequence[int]) -> int:
        """Start these jobs again, as far as they are dead letters. Return how many did."""
        return sum(
            [await self._redrive(job_ids[at : at + REDRIVE_LIMIT]) for at in range(0, len(job_ids), REDRIVE_LIMIT)]
        )

    async def redrive_all(self, below: int, reason: str) -> Redriven:
        """Start dead letters again that have ids below `below`, and `reason` in their last error: one step of all."""
        page = await find_dead_letters(self._database, below, REDRIVE_LIMIT, reason)
        return Redriven(await self._redrive(page.job_ids), page.next_below)

    async def pause(self, paused_by: str, reason: str) -> Pause:
        """Let no server hand out jobs until `resume`."""
        return await begin_pause(self._database, paused_by, reason)

    async def resume(self) -> Pause | None:
        """Let jobs be handed out. Return the pause that ended, or None."""
        return await end_pause(self._database)

    async def prune(self, keep: float, after: int) -> Pruned:
        """Delete jobs after id `after` that ended `keep` seconds ago, and notifications as old, for two seconds."""
        notifications = 0
        until = time.monotonic() + PRUNE_SECONDS
        while pruned := await maintenance.prune_log(self._database, keep, PRUNE_LIMIT):
            notifications += pruned
            if pruned < PRUNE_LIMIT or time.monotonic() >= until:
                break
        jobs, next_after = await prune_jobs_for(PRUNE_SECONDS, self._database, keep, after)
        return Pruned(jobs, notifications, next_after)

    async def _redrive(self, job_ids: Sequence[int]) -> int:
        dead = await dead_letters_among(self._database, job_ids) if job_ids else []
        if not dead:
            return 0
        retrials = await retry(self._lane, dead)
        self._dispatcher.wake()
        return sum(retrial.verdict is RetryVerdict.RETRIED for retrial in retrials)

    async def _cancel(self, job_ids: Sequence[int]) -> list[Cancellation]:
        """Cancel the jobs that are alive, and tell their workers."""
        cancellations = await cancel(self._lane, job_ids)
        self._observer.cancelled(sum(answer.verdict is CancelVerdict.CANCELLED for answer in cancellations))
        await self._tell_workers(
            [
                (answer.session, answer.lease)
                for answer in cancellations
                if answer.session is not None and answer.lease is not None
            ]
        )
        return cancellations

    async def _tell_workers(self, leases: Sequence[tuple[int, Token]]) -> None:
        """Tell the workers that they have lost leases, on whatever server their streams are."""
        if leases:
            await broadcast(self._database, [encode(LeaseCancelled(*lease)) for lease in leases])
