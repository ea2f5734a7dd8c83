"""What to show for models."""

from collections.abc import Iterable, Sequence

from thumbq_server.domain.job import ThumbnailStatus
from thumbq_server.domain.records import ThumbnailRecord
from thumbq_server.storage.postgres.database import Database
from thumbq_server.storage.statements import Statement

# The newest request decides. A failed attempt shows as Failed while its retry waits; a job under way as Processing. The
# columns stand in the order of ThumbnailRecord. Each model is looked up by itself (OFFSET 0): a join would read every
# thumbnail that there is.
_SHOWN = """
    SELECT asked.model_id,
           CASE WHEN s.status = 'Processing' THEN 'Processing'
                WHEN s.status = 'Pending' AND (s.attempt_count = 0 OR t.request_no IS DISTINCT FROM s.request_no)
                THEN 'Pending'
                ELSE coalesce(t.status, 'None') END AS status,
           t.error_message, t.created_at, t.processed_at, t.path, t.size_bytes, t.width, t.height, t.model_hash
      FROM {asked}
      LEFT JOIN LATERAL (SELECT * FROM thumbnails WHERE model_id = asked.model_id OFFSET 0) t ON true
      LEFT JOIN LATERAL (
        SELECT status, request_no, attempt_count FROM job_states WHERE model_id = asked.model_id
         ORDER BY request_no DESC LIMIT 1) s ON true
"""
READ_THUMBNAIL = Statement(
    "thumbnails_read",
    "model_id bigint",
    _SHOWN.format(asked="(SELECT $1::bigint AS model_id) AS asked"),
)
READ_THUMBNAILS = Statement(
    "thumbnails_read_many",
    "model_ids bigint[]",
    _SHOWN.format(asked="unnest($1::bigint[]) WITH ORDINALITY AS asked(model_id, place)")
    + "     ORDER BY asked.place\n",
)


async def read_thumbnail(database: Database, model_id: int) -> ThumbnailRecord:
    """Return what to show for a model; the status is None for a model without jobs."""
    return _record((await database.fetch(READ_THUMBNAIL, model_id))[0])


async def read_thumbnails(database: Database, model_ids: Sequence[int]) -> list[ThumbnailRecord]:
    """Return what to show for each of the models, in their order."""
    return [_record(row) for row in await database.fetch(READ_THUMBNAILS, model_ids)]


def _record(row: Iterable[object]) -> ThumbnailRecord:
    record = ThumbnailRecord._make(row)
    return record._replace(status=ThumbnailStatus(record.status))
