"""The log of notifications: contiguous, in commit order, one row a commit."""

from collections.abc import Sequence

import asyncpg

from thumbq_server.storage.postgres.database import Database
from thumbq_server.storage.postgres.notify import CHANNEL, LOG

_HEAD = "SELECT epoch, seq FROM queue_head"

_OLDEST = "SELECT seq_first AS oldest FROM notifications ORDER BY seq_last LIMIT 1"

# Whole commits are read, so a row may begin before the cursor; the reader cuts it.
_AFTER = "SELECT * FROM notifications WHERE seq_last > $1 ORDER BY seq_last LIMIT $2"

_PUBLISH_TEST = f"""
    WITH head AS (
        UPDATE queue_head SET seq = seq + 1 RETURNING seq, pg_notify('{CHANNEL}', '{LOG}')
    )
    INSERT INTO notifications (seq_last, seq_first, status, test, model_ids, job_ids, attempt_counts, error_messages,
                               next_attempt_ats, thumbnail_url)
    SELECT seq, seq, $2, true, ARRAY[$1::bigint], ARRAY[0::bigint], ARRAY[0::smallint], ARRAY[$4::text], NULL, $3
      FROM head
    RETURNING seq_last
"""


async def head(database: Database) -> tuple[str, int]:
    """The epoch of the log, and the seq of its newest notification (0: none yet)."""
    row = (await database.fetch(_HEAD))[0]
    return row["epoch"], row["seq"]


async def oldest(database: Database) -> int | None:
    """The seq of the oldest notification that is kept; None when there is none."""
    rows = await database.fetch(_OLDEST)
    return rows[0]["oldest"] if rows else None


async def after(database: Database, seq: int, limit: int) -> Sequence[asyncpg.Record]:
    """Up to `limit` commits that reach beyond `seq`, in order."""
    return await database.fetch(_AFTER, seq, limit)


async def publish_test(
    database: Database, model_id: int, status: str, thumbnail_url: str | None, error_message: str | None
) -> int:
    """Announce a status that nobody reported. Returns its seq."""
    rows = await database.fetch(_PUBLISH_TEST, model_id, status, thumbnail_url, error_message)
    seq: int = rows[0]["seq_last"]
    return seq
