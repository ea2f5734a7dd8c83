"""The queue as a whole: the counters, and the jobs under way."""

from collections.abc import Sequence

import asyncpg

from thumbq_server.storage.postgres.database import Database

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


async def take_snapshot(database: Database) -> tuple[asyncpg.Record, Sequence[asyncpg.Record]]:
    """The counters, and up to 100 jobs under way."""
    return (await database.fetch(_SNAPSHOT))[0], await database.fetch(_RENDERING)
