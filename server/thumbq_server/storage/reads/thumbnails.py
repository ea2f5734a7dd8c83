"""What to show for a model."""

from collections.abc import Sequence

import asyncpg

from thumbq_server.domain.job import ThumbnailStatus
from thumbq_server.domain.records import ThumbnailRecord
from thumbq_server.storage.postgres.database import Database
from thumbq_server.storage.statements import Statement

# The newest request decides. A failed attempt shows as Failed while its retry waits; a job under way as Processing. The
# columns stand in the order of ThumbnailRecord.
_SHOWN = """CASE WHEN s.status = 'Processing' THEN 'Processing'
                WHEN s.status = 'Pending' AND (s.attempt_count = 0 OR t.request_no IS DISTINCT FROM s.request_no)
                THEN 'Pending'
                ELSE coalesce(t.status, 'None') END AS status,
           t.error_message, t.created_at, t.processed_at, t.path, t.size_bytes, t.width, t.height, t.model_hash"""

# A job under way that is to run again has been asked for once more.
_NEWEST = "greatest(request_no, (SELECT rerun_request_no FROM leases WHERE job_id = j.id))"

READ_THUMBNAIL = Statement(
    "thumbnails_read",
    "model_id bigint",
    f"""
    SELECT $1::bigint AS model_id, {_SHOWN}
      FROM (SELECT) AS one
      LEFT JOIN LATERAL (SELECT * FROM thumbnails WHERE model_id = $1) t ON true
      LEFT JOIN LATERAL (
        SELECT status, request_no, attempt_count FROM job_states j WHERE model_id = $1
         ORDER BY {_NEWEST} DESC LIMIT 1) s ON true
    """,
)

# The same for many models. Each is looked up by itself, since a plan for all of them may scan the tables.
READ_THUMBNAILS = Statement(
    "thumbnails_read_many",
    "model_ids bigint[]",
    f"""
    SELECT i.model_id, {_SHOWN}
      FROM unnest($1::bigint[]) WITH ORDINALITY AS i (model_id, place)
      LEFT JOIN LATERAL (SELECT * FROM thumbnails WHERE model_id = i.model_id OFFSET 0) t ON true
      LEFT JOIN LATERAL (
        SELECT status, request_no, attempt_count FROM job_states j WHERE model_id = i.model_id
         ORDER BY {_NEWEST} DESC LIMIT 1) s ON true
     ORDER BY i.place
    """,
)


async def read_thumbnail(database: Database, model_id: int) -> ThumbnailRecord:
    """Return what to show for a model; the status is None for a model without jobs."""
    (record,) = map(_record, await database.fetch(READ_THUMBNAIL, model_id))
    return record


async def read_thumbnails(database: Database, model_ids: Sequence[int]) -> list[ThumbnailRecord]:
    """Return what to show for each of these models, in their order."""
    return list(map(_record, await database.fetch(READ_THUMBNAILS, model_ids)))


def _record(row: asyncpg.Record) -> ThumbnailRecord:
    record = ThumbnailRecord._make(row)
    return record._replace(status=ThumbnailStatus(record.status))
