"""Reading jobs and thumbnails, and the state of the queue as a whole."""

from collections.abc import Sequence

import asyncpg

from thumbq_server.storage.database import Database

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

# The newest request decides. A failed attempt is shown as Failed while its retry waits, and a render under way as such.
_THUMBNAIL = """
    SELECT $1::bigint AS model_id, t.path, t.size_bytes, t.width, t.height, t.model_hash, t.created_at, t.processed_at,
           CASE WHEN s.status = 'Processing' THEN 'Processing'
                WHEN s.status = 'Pending' AND (s.attempt_count = 0 OR t.request_no IS DISTINCT FROM s.request_no)
                THEN 'Pending'
                ELSE coalesce(t.status, 'None') END AS status,
           t.error_message
      FROM (SELECT) AS one
      LEFT JOIN thumbnails t ON t.model_id = $1
      LEFT JOIN LATERAL (
        SELECT status, request_no, attempt_count FROM job_states WHERE model_id = $1
         ORDER BY request_no DESC LIMIT 1) s ON true
"""

_SNAPSHOT = """
    SELECT (SELECT count(*) FROM ready) AS pending, (SELECT count(*) FROM leases) AS processing,
           (SELECT completed FROM queue_head) AS completed,
           (SELECT count(*) FROM dead_letters WHERE status = 'Failed') AS failed,
           (SELECT count(*) FROM dead_letters WHERE status = 'Cancelled') AS cancelled,
           now() AS timestamp
"""

_RENDERING = """
    SELECT j.model_id, l.job_id, w.worker_id, l.attempt, l.claimed_at
      FROM (SELECT * FROM leases ORDER BY claimed_at DESC LIMIT 100) l
      JOIN jobs j ON j.id = l.job_id JOIN workers w ON w.id = l.worker
     ORDER BY l.claimed_at DESC
"""

ENDED = ("Completed", "Failed", "Cancelled")


async def job(database: Database, job_id: int) -> asyncpg.Record | None:
    """The row of the view `job_states`, or None."""
    rows = await database.fetch(_JOB, job_id)
    return rows[0] if rows else None


async def page(database: Database, status: str, model_id: int, below: int, limit: int) -> Sequence[asyncpg.Record]:
    """Up to `limit` rows of `job_states` with an id below `below`, newest first. Status "": all; model 0: all."""
    return await database.fetch(_PAGES[status], below, limit, model_id)


async def thumbnail(database: Database, model_id: int) -> asyncpg.Record:
    """What to show for a model: always one row, with status None for a model nobody asked for."""
    return (await database.fetch(_THUMBNAIL, model_id))[0]


async def snapshot(database: Database) -> tuple[asyncpg.Record, Sequence[asyncpg.Record]]:
    """The counters, and up to 100 jobs under way."""
    return (await database.fetch(_SNAPSHOT))[0], await database.fetch(_RENDERING)
