"""Jobs as anybody may see them: one, or pages of them."""

from collections.abc import Iterable
from typing import Any

from thumbq_server.domain.job import JobStatus
from thumbq_server.domain.records import JobRecord
from thumbq_server.storage.postgres.database import Database
from thumbq_server.storage.statements import Statement

READ_JOB = Statement("jobs_read", "job_id bigint", "SELECT * FROM job_records WHERE id = $1")

LIVE_JOBS_OF_MODEL = Statement(
    "jobs_live_of_model",
    "model_id bigint",
    "SELECT id FROM job_states WHERE model_id = $1 AND status IN ('Pending', 'Processing') ORDER BY id",
)

LIVE_AMONG = Statement(
    "jobs_live_among",
    "job_ids bigint[]",
    "SELECT id FROM job_states WHERE id = ANY ($1) AND status IN ('Pending', 'Processing')",
)


async def read_job(database: Database, job_id: int) -> JobRecord | None:
    """Return the job, or None."""
    rows = await database.fetch(READ_JOB, job_id)
    return record(rows[0]) if rows else None


async def list_jobs(
    database: Database, status: JobStatus | None, model_id: int, below: int, limit: int
) -> list[JobRecord]:
    """Return up to `limit` jobs with an id below `below`, newest first. Status None: any; model 0: any."""
    # the first page loads SQLAlchemy, so that a server starts without it
    from thumbq_server.storage.reads.job_pages import job_page

    page = job_page(status, of_model=bool(model_id))
    rows = await database.fetch(page.statement, *page.arguments(below=below, limit=limit, model_id=model_id))
    return [record(row) for row in rows]


async def live_jobs_of_model(database: Database, model_id: int) -> list[int]:
    """Return the ids of the model's jobs that are Pending or Processing."""
    return [row["id"] for row in await database.fetch(LIVE_JOBS_OF_MODEL, model_id)]


async def live_among(database: Database, job_ids: Iterable[int]) -> set[int]:
    """Return those of these jobs that are Pending or Processing."""
    return {row["id"] for row in await database.fetch(LIVE_AMONG, list(job_ids))}


def record(row: Iterable[Any]) -> JobRecord:
    """Return a row of job_records as a record."""
    job = JobRecord._make(row)
    return job._replace(status=JobStatus(job.status))
