"""Versions of models. A queue that was never told of one pays nothing for them."""

from collections.abc import Awaitable, Callable, Sequence
from functools import partial

from thumbq_server.domain.job import Enqueued, EnqueueOutcome
from thumbq_server.domain.model_versions import NewVersion, VersionRecord
from thumbq_server.engine.batcher import Batcher
from thumbq_server.storage import model_versions
from thumbq_server.storage.postgres.database import Database


class Versions:
    """Knows which file each version is, and names the version of each job.

    Every method raises Unavailable while PostgreSQL is away.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._exist = False
        self._write: Batcher[NewVersion, None] = Batcher(partial(self._together, model_versions.write))
        self._write_missing: Batcher[NewVersion, None] = Batcher(partial(self._together, model_versions.write_missing))
        self.verbs = self._write, self._write_missing

    async def __call__(self) -> int:
        """Look whether there are versions: at the start, and regularly, since another server may get the first."""
        self._exist = self._exist or await model_versions.exist(self._database)
        return 0

    async def write(self, versions: Sequence[NewVersion | None]) -> None:
        """Note which file each version is, before its job can be claimed."""
        if named := [version for version in versions if version]:
            await self._write(named)
            self._exist = True

    async def write_missing(self, versions: Sequence[NewVersion | None], answers: Sequence[Enqueued]) -> None:
        """Note the versions of new jobs again, as far as their models were forgotten before the jobs were there."""
        pairs = zip(versions, answers, strict=False)
        if new := [version for version, answer in pairs if version and answer.outcome is EnqueueOutcome.CREATED]:
            await self._write_missing(new)

    async def of_jobs(self, job_ids: Sequence[int]) -> dict[int, int]:
        """Return the version of each job that has one."""
        return await model_versions.of_jobs(self._database, job_ids) if self._exist and job_ids else {}

    async def read(self, version_id: int) -> VersionRecord | None:
        """Return a version, or None."""
        return await model_versions.read_version(self._database, version_id)

    async def _together(
        self, write: Callable[[Database, Sequence[NewVersion]], Awaitable[None]], versions: Sequence[NewVersion]
    ) -> Sequence[None]:
        await write(self._database, versions)
        return [None] * len(versions)
