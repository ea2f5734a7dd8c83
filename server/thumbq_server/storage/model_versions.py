"""Versions of models: which file each is, and what it shows."""

from collections.abc import Sequence

from thumbq_server.domain.model_versions import NewVersion, VersionRecord
from thumbq_server.storage.fragments import columns
from thumbq_server.storage.postgres.database import Database
from thumbq_server.storage.statements import Statement

EXIST = Statement("model_versions_exist", "", "SELECT EXISTS (SELECT FROM model_versions) AS exist")

WRITE = Statement(
    "model_versions_write",
    "version_ids bigint[], model_ids bigint[], model_hashes bytea[]",
    """
    INSERT INTO model_versions AS v (version_id, model_id, model_hash)
    SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::bytea[]) AS i (version_id, model_id, model_hash)
     ORDER BY version_id
    ON CONFLICT (version_id) DO UPDATE
       SET model_id = excluded.model_id, model_hash = excluded.model_hash
     WHERE (v.model_id, v.model_hash) <> (excluded.model_id, excluded.model_hash)
    """,
)

# A model may be forgotten between WRITE and the commit of its job. When it was not, this changes nothing. A version
# whose job is gone as well stays forgotten. Each job is looked up by itself.
WRITE_MISSING = Statement(
    "model_versions_write_missing",
    "version_ids bigint[], model_ids bigint[], model_hashes bytea[]",
    """
    INSERT INTO model_versions (version_id, model_id, model_hash)
    SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::bytea[]) AS i (version_id, model_id, model_hash)
     WHERE (SELECT id FROM jobs WHERE model_id = i.model_id AND model_hash = i.model_hash) IS NOT NULL
     ORDER BY version_id
    ON CONFLICT (version_id) DO NOTHING
    """,
)

# Of several versions with the same file, the newest is named.
OF_JOBS = Statement(
    "model_versions_of_jobs",
    "job_ids bigint[]",
    """
    SELECT j.id, max(v.version_id) AS version_id
      FROM jobs j JOIN model_versions v ON v.model_id = j.model_id AND v.model_hash = j.model_hash
     WHERE j.id = ANY ($1) GROUP BY j.id
    """,
)

# The picture is the newest one of the job of the version's file.
READ = Statement(
    "model_versions_read",
    "version_id bigint",
    """
    SELECT v.model_id, v.model_hash, v.created_at, p.ended_at, p.path, p.size_bytes, p.width, p.height,
           s.status, s.attempt_count, s.error_message
      FROM model_versions v
      LEFT JOIN jobs j ON j.model_id = v.model_id AND j.model_hash = v.model_hash
      LEFT JOIN LATERAL (SELECT * FROM job_states WHERE id = j.id OFFSET 0) s ON true
      LEFT JOIN LATERAL (
        SELECT ended_at, path, size_bytes, width, height FROM attempts a
         WHERE a.job_id = j.id AND a.outcome = 'Completed' AND a.path <> '' ORDER BY a.lease_seq DESC LIMIT 1) p ON true
     WHERE v.version_id = $1
    """,
)


async def exist(database: Database) -> bool:
    """Return whether there is any version."""
    found: bool = (await database.fetch(EXIST))[0]["exist"]
    return found


async def write(database: Database, versions: Sequence[NewVersion]) -> None:
    """Note which file each version is. Of several files of one version, the last one counts."""
    await database.fetch(WRITE, *columns(_last_of_each(versions), 3))


async def write_missing(database: Database, versions: Sequence[NewVersion]) -> None:
    """Note which file each version is that is not there, and whose job is."""
    await database.fetch(WRITE_MISSING, *columns(_last_of_each(versions), 3))


async def of_jobs(database: Database, job_ids: Sequence[int]) -> dict[int, int]:
    """Return the version of each job that has one."""
    return {row["id"]: row["version_id"] for row in await database.fetch(OF_JOBS, job_ids)}


async def read_version(database: Database, version_id: int) -> VersionRecord | None:
    """Return a version, or None."""
    rows = await database.fetch(READ, version_id)
    return VersionRecord._make(rows[0]) if rows else None


def _last_of_each(versions: Sequence[NewVersion]) -> Sequence[NewVersion]:
    return list({version.version_id: version for version in versions}.values())
