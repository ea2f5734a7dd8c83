"""Waiting for a job's end, by the log: a duplicate request joins the job that is under way."""

import asyncio
import contextlib

from thumbq_server.domain.job import ENDED
from thumbq_server.domain.records import JobRecord
from thumbq_server.engine.readers.cursor import Cursor
from thumbq_server.engine.readers.hub import Hub, HubClosed, LogPruned
from thumbq_server.engine.readers.views import Views


async def job_when_ended(views: Views, hub: Hub, job_id: int, wait: float) -> JobRecord:
    """Return the job as soon as it has ended, or as it is after `wait` seconds. Raises NotFound, Unavailable."""
    job = await views.job(job_id)
    if not wait or _has_ended(job):
        return job
    with contextlib.suppress(TimeoutError, HubClosed):
        async with asyncio.timeout(wait):
            await _until_ended(views, hub, job_id)
    return await views.job(job_id)


async def _until_ended(views: Views, hub: Hub, job_id: int) -> None:
    with hub.reading():
        cursor = await views.cursor()
        while not _has_ended(await views.job(job_id)):
            try:
                cursor = await _announcement(hub, cursor, job_id)
            except LogPruned:
                cursor = await views.cursor()


async def _announcement(hub: Hub, cursor: Cursor, job_id: int) -> Cursor:
    """Wait until something is announced about the job. Return the cursor behind it."""
    while True:
        commits = await hub.after(cursor.seq)
        cursor = cursor._replace(seq=commits[-1].seq_last)
        if any(job_id in commit.row.job_ids for commit in commits):
            return cursor


def _has_ended(job: JobRecord) -> bool:
    return job.status in ENDED
