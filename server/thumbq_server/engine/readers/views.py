"""What readers see, each with the cursor to subscribe from, so that they miss no change.

The cursor is read before the rest: a change in between is announced again rather than missed.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from thumbq_server.domain.job import JobStatus, ThumbnailStatus
from thumbq_server.domain.job_events import JobEvent
from thumbq_server.domain.model_versions import UNKNOWN_VERSION, shown
from thumbq_server.domain.progress import ProgressRecord
from thumbq_server.domain.records import JobRecord, ThumbnailRecord
from thumbq_server.domain.refusals import NotFound
from thumbq_server.engine.readers import cursor as cursors
from thumbq_server.engine.readers.cursor import Cursor
from thumbq_server.storage import notification_log, progress
from thumbq_server.storage.job_events import list_events
from thumbq_server.storage.model_versions import read_version
from thumbq_server.storage.postgres.database import Database
from thumbq_server.storage.reads.jobs import list_jobs, live_among, read_job
from thumbq_server.storage.reads.thumbnails import read_thumbnail, read_thumbnails


class JobPage(NamedTuple):
    """Some jobs, newest first. The next page has the jobs with ids below `next_below`; None: there is none."""

    jobs: Sequence[JobRecord]
    next_below: int | None
    cursor: Cursor


class Views:
    """Reads jobs and thumbnails. Every method raises Unavailable while PostgreSQL is away."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def cursor(self) -> Cursor:
        """Return the newest position in the log."""
        return await cursors.head(self._database)

    async def job(self, job_id: int) -> JobRecord:
        """Return a job, or raise NotFound."""
        job = await read_job(self._database, job_id)
        if job is None:
            raise NotFound(job_id)
        return job

    async def live_among(self, job_ids: Iterable[int]) -> set[int]:
        """Return those of these jobs that have not ended."""
        return await live_among(self._database, job_ids)

    async def progress(self, job: JobRecord) -> ProgressRecord | None:
        """Return how far the job has come, None for one that is not under way or whose worker has told nothing."""
        if job.status is not JobStatus.PROCESSING:
            return None
        return await progress.read(self._database, job.id, job.lease_seq)

    async def job_events(self, job_id: int) -> list[JobEvent]:
        """Return the log of a job, or raise NotFound."""
        await self.job(job_id)
        return await list_events(self._database, job_id)

    async def jobs(self, status: JobStatus | None, model_id: int, below: int, limit: int) -> JobPage:
        """Return up to `limit` jobs with an id below `below`. Status None and model 0 stand for all of them."""
        cursor = await self.cursor()
        rows = await list_jobs(self._database, status, model_id, below, limit + 1)
        return JobPage(rows[:limit], rows[limit - 1].id if len(rows) > limit else None, cursor)

    async def thumbnail(self, model_id: int) -> tuple[ThumbnailRecord, Cursor]:
        """Return what to show for a model."""
        cursor = await self.cursor()
        return await read_thumbnail(self._database, model_id), cursor

    async def thumbnails(self, model_ids: Sequence[int]) -> tuple[list[ThumbnailRecord], Cursor]:
        """Return what to show for each of these models, in their order."""
        cursor = await self.cursor()
        return await read_thumbnails(self._database, model_ids), cursor

    async def version(self, version_id: int) -> tuple[ThumbnailRecord, Cursor]:
        """Return what to show for a version of a model. A version that no producer has named has status None."""
        cursor = await self.cursor()
        version = await read_version(self._database, version_id)
        if version is None:
            return UNKNOWN_VERSION, cursor
        return shown(version), cursor

    async def publish_test(
        self, model_id: int, status: ThumbnailStatus, url: str | None, error_message: str | None
    ) -> None:
        """Announce a status that no worker reported."""
        await notification_log.publish_test(self._database, model_id, status, url, error_message)
