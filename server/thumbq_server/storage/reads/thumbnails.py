"""What to show for a model."""

import asyncpg

from thumbq_server.storage.postgres.database import Database

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


async def read_thumbnail(database: Database, model_id: int) -> asyncpg.Record:
    """What to show for a model: always one row, with status None for a model nobody asked for."""
    return (await database.fetch(_THUMBNAIL, model_id))[0]
