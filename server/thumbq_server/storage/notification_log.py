"""The log of notifications: contiguous, in commit order, one row a commit."""

from collections.abc import Sequence

from thumbq_server.domain.job import ThumbnailStatus
from thumbq_server.domain.records import CommitRecord, LogHead
from thumbq_server.storage.postgres.database import Database
from thumbq_server.storage.postgres.hints import LOG
from thumbq_server.storage.statements import Statement

# Far less than 2^63, since a position is added to it.
_ALL_EVENTS = 2**31 - 1

HEAD = Statement("log_head", "", "SELECT epoch, seq FROM queue_head")

OLDEST = Statement("log_oldest", "", "SELECT seq_first AS oldest FROM notifications ORDER BY seq_last LIMIT 1")

# Whole commits are read, so the first row may begin before the cursor; the reader cuts it. The columns stand in the
# order of CommitRecord.
AFTER = Statement(
    "log_after",
    "seq bigint, limit bigint, events bigint",
    """
    SELECT seq_last, seq_first, created_at, status, test, model_ids, job_ids, attempt_counts, error_messages,
           next_attempt_ats, thumbnail_url
      FROM notifications
     WHERE seq_last > $1
       AND seq_last <= (SELECT min(seq_last) FROM notifications WHERE seq_last > $1) + $3
     ORDER BY seq_last LIMIT $2
    """,
)

PUBLISH_TEST = Statement(
    "log_publish_test",
    "model_id bigint, status text, thumbnail_url text, error_message text",
    """
    WITH head AS (
        UPDATE queue_head SET seq = seq + 1 RETURNING seq
    )
    INSERT INTO notifications (seq_last, seq_first, status, test, model_ids, job_ids, attempt_counts, error_messages,
                               next_attempt_ats, thumbnail_url)
    SELECT seq, seq, $2, true, ARRAY[$1::bigint], ARRAY[0::bigint], ARRAY[0::smallint], ARRAY[$4::text], NULL, $3
      FROM head
    RETURNING seq_last
    """,
)


async def head(database: Database) -> LogHead:
    """Return the epoch of the log, and the seq of its newest notification (0: none yet)."""
    return LogHead(*(await database.fetch(HEAD))[0])


async def oldest(database: Database) -> int | None:
    """Return the seq of the oldest notification that is kept; None when there is none."""
    rows = await database.fetch(OLDEST)
    return rows[0]["oldest"] if rows else None


async def after(database: Database, seq: int, limit: int, events: int = _ALL_EVENTS) -> Sequence[CommitRecord]:
    """Return up to `limit` commits that reach beyond `seq`, in order.

    Those after the first have up to `events` notifications in all.
    """
    records = map(CommitRecord._make, await database.fetch(AFTER, seq, limit, events))
    return [record._replace(status=ThumbnailStatus(record.status)) for record in records]


async def publish_test(
    database: Database, model_id: int, status: str, thumbnail_url: str | None, error_message: str | None
) -> int:
    """Announce a status without any job. Return its seq."""
    rows = await database.fetch(PUBLISH_TEST, model_id, status, thumbnail_url, error_message)
    database.hints.tell(LOG)
    seq: int = rows[0]["seq_last"]
    return seq
