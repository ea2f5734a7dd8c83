"""Waiting for jobs to end, by the log: a duplicate request joins the job that is under way."""

import asyncio
from collections import defaultdict
from collections.abc import Iterable
from contextlib import aclosing, suppress

from thumbq_server.domain.job import ENDED
from thumbq_server.domain.records import JobRecord
from thumbq_server.engine.readers.subscription import Subscriptions
from thumbq_server.engine.readers.views import Views
from thumbq_server.storage.postgres.errors import Unavailable


class JobEnds:
    """One reader of the log for all calls that wait. A change of another job wakes none of them.

    The log does not tell how a job ends that a newer request of its model has overtaken, nor that it is gone. A look
    every `poll` seconds, one for all that wait, finds that out.
    """

    def __init__(self, views: Views, subscriptions: Subscriptions, *, poll: float = 1.0) -> None:
        self._poll = poll
        self._views = views
        self._subscriptions = subscriptions
        self._waiting: defaultdict[int, set[asyncio.Event]] = defaultdict(set)
        self._reader: _Reader | None = None

    async def job(self, job_id: int, wait: float) -> JobRecord:
        """Return the job as soon as it has ended, or as it is after `wait` seconds. Raises NotFound, Unavailable."""
        job = await self._views.job(job_id)
        if not wait or _has_ended(job):
            return job
        with suppress(TimeoutError):
            async with asyncio.timeout(wait):
                return await self._ended(job_id)
        return await self._views.job(job_id)

    async def _ended(self, job_id: int) -> JobRecord:
        changed = asyncio.Event()
        self._waiting[job_id].add(changed)
        reader = self._reader = self._reader or _Reader(self._subscriptions, self._views, self._waiting, self._poll)
        try:
            await reader.began.wait()
            while not _has_ended(job := await self._views.job(job_id)) and not reader.has_ended:
                await changed.wait()
                changed.clear()
            return job
        finally:
            self._waiting[job_id].discard(changed)
            if not self._waiting[job_id]:
                del self._waiting[job_id]
            if self._reader is reader and (reader.has_ended or not self._waiting):
                self._reader = None
                reader.end()


class _Reader:
    """Wakes those that wait for a job of which the log tells something from now on, or a look finds the end."""

    def __init__(
        self, subscriptions: Subscriptions, views: Views, waiting: defaultdict[int, set[asyncio.Event]], poll: float
    ) -> None:
        self._waiting = waiting
        # Set when the position is known from which on no announcement is missed.
        self.began = asyncio.Event()
        self.has_ended = False
        self._tasks = (
            asyncio.create_task(self._read(subscriptions)),
            asyncio.create_task(self._look(views, poll)),
        )

    def end(self) -> None:
        """Read no further, and look no more."""
        for task in self._tasks:
            task.cancel()

    async def _read(self, subscriptions: Subscriptions) -> None:
        try:
            async with aclosing(subscriptions.follow("")) as steps:
                async for step in steps:
                    self.began.set()
                    if step.reset:
                        self._wake(list(self._waiting))
                    for commit in step.commits:
                        self._wake(self._waiting.keys() & commit.row.job_ids)
        finally:
            self.has_ended = True
            self.began.set()
            self._wake(list(self._waiting))

    async def _look(self, views: Views, poll: float) -> None:
        while True:
            await asyncio.sleep(poll)
            asked = set(self._waiting)
            with suppress(Unavailable):
                live = await views.live_among(asked)
                self._wake(self._waiting.keys() & (asked - live))

    def _wake(self, job_ids: Iterable[int]) -> None:
        for job_id in job_ids:
            for changed in self._waiting[job_id]:
                changed.set()


def _has_ended(job: JobRecord) -> bool:
    return job.status in ENDED
