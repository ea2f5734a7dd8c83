"""Versions of models. A queue that was never told of one pays nothing for them."""

from collections.abc import Sequence

from thumbq_server.domain.job import Completion, Enqueued, EnqueueOutcome, Reported, Verdict
from thumbq_server.domain.model_versions import NewVersion, Picture, VersionRecord
from thumbq_server.domain.records import ThumbnailRecord
from thumbq_server.storage import model_versions
from thumbq_server.storage.postgres.database import Database
from thumbq_server.storage.reads.thumbnails import read_thumbnail


class Versions:
    """Names the version of each job, and keeps the picture of each version.

    Every method raises Unavailable while PostgreSQL is away.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._exist = False

    async def __call__(self) -> int:
        """Look whether there are versions: at the start, and regularly, since another server may get the first."""
        self._exist = self._exist or await model_versions.exist(self._database)
        return 0

    async def write(self, versions: Sequence[NewVersion | None]) -> None:
        """Note which file each version is, before its job can be claimed."""
        if named := [version for version in versions if version]:
            await model_versions.write(self._database, named)
            self._exist = True

    async def adopt_pictures(self, versions: Sequence[NewVersion | None], answers: Sequence[Enqueued]) -> None:
        """Give a version whose file was rendered before, for another version or for none, the picture of its model."""
        for version, answer in zip(versions, answers, strict=True):
            if version and answer.outcome is EnqueueOutcome.EXISTING:
                shown = await read_thumbnail(self._database, version.model_id)
                if shown.model_hash == version.model_hash and shown.path is not None:
                    await model_versions.keep_pictures(self._database, [_picture(answer.job_id, shown)])

    async def of_jobs(self, job_ids: Sequence[int]) -> dict[int, int]:
        """Return the version of each job that has one."""
        return await model_versions.of_jobs(self._database, job_ids) if self._exist and job_ids else {}

    async def keep_pictures(self, completions: Sequence[Completion], answers: Sequence[Reported]) -> None:
        """Keep the pictures of accepted completions for the versions of their jobs."""
        if self._exist:
            pictures = [
                Picture(item.job_id, item.thumbnail_path, item.size_bytes, item.width, item.height)
                for item, answer in zip(completions, answers, strict=True)
                if answer.verdict is Verdict.OK
            ]
            await model_versions.keep_pictures(self._database, pictures)

    async def read(self, version_id: int) -> VersionRecord | None:
        """Return a version, or None."""
        return await model_versions.read_version(self._database, version_id)


def _picture(job_id: int, shown: ThumbnailRecord) -> Picture:
    assert shown.path is not None
    return Picture(job_id, shown.path, shown.size_bytes or 0, shown.width or 0, shown.height or 0)
