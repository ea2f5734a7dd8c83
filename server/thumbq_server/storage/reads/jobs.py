"""Jobs as anybody may see them."""

from collections.abc import Sequence

import asyncpg

from thumbq_server.storage.postgres.database import Database

_JOB = "SELECT * FROM job_states WHERE id = $1"

# Newest first, each from the table that knows: a page never reads past what it shows. $1: ids below this; $3: the model
# or 0.
_PAGES = {
    "": "SELECT * FROM job_states WHERE id < $1 AND ($3 = 0 OR model_id = $3) ORDER BY id DESC LIMIT $2",
    "Pending": """
        SELECT s.* FROM ready p JOIN job_states s ON s.id = p.job_id
         WHERE p.job_id < $1 AND ($3 = 0 OR model_id = $3) ORDER BY p.job_id DESC LIMIT $2""",
    "Processing": """
        SELECT s.* FROM leases p JOIN job_states s ON s.id = p.job_id
         WHERE p.job_id < $1 AND ($3 = 0 OR model_id = $3) ORDER BY p.job_id DESC LIMIT $2""",
    "Completed": """
        SELECT * FROM job_states
         WHERE id < $1 AND ($3 = 0 OR model_id = $3) AND status = 'Completed' ORDER BY id DESC LIMIT $2""",
    "Failed": """
        SELECT s.* FROM dead_letters p JOIN job_states s ON s.id = p.job_id
         WHERE p.job_id < $1 AND p.status = 'Failed' AND ($3 = 0 OR model_id = $3) ORDER BY p.job_id DESC LIMIT $2""",
    "Cancelled": """
        SELECT s.* FROM dead_letters p JOIN job_states s ON s.id = p.job_id
         WHERE p.job_id < $1 AND p.status = 'Cancelled' AND ($3 = 0 OR model_id = $3)
         ORDER BY p.job_id DESC LIMIT $2""",
}

_JOBS_OF_MODEL = "SELECT id FROM job_states WHERE model_id = $1 AND status IN ('Pending', 'Processing') ORDER BY id"

ENDED = ("Completed", "Failed", "Cancelled")


async def read_job(database: Database, job_id: int) -> asyncpg.Record | None:
    """The row of the view `job_states`, or None."""
    rows = await database.fetch(_JOB, job_id)
    return rows[0] if rows else None


async def list_jobs(database: Database, status: str, model_id: int, below: int, limit: int) -> Sequence[asyncpg.Record]:
    """Up to `limit` rows of `job_states` with an id below `below`, newest first. Status "": all; model 0: all."""
    return await database.fetch(_PAGES[status], below, limit, model_id)


async def live_jobs_of_model(database: Database, model_id: int) -> list[int]:
    """The jobs of a model that are Pending or Processing."""
    return [row["id"] for row in await database.fetch(_JOBS_OF_MODEL, model_id)]
