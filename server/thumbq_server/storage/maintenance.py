"""Keeping the tables small: dead rows are vacuumed away, old notifications deleted."""

from thumbq_server.storage.postgres.database import Database
from thumbq_server.storage.statements import Statement

_VACUUM = "VACUUM (SKIP_LOCKED, INDEX_CLEANUP ON, TRUNCATE OFF) ready, leases"

# Delete a prefix only. created_at is not monotonic: a transaction that started earlier may commit later.
PRUNE_LOG = Statement(
    "log_prune",
    "keep_seconds double precision, limit bigint",
    """
    WITH pruned AS (
        DELETE FROM notifications WHERE seq_last = ANY (ARRAY (
            SELECT seq_last FROM (
                SELECT seq_last,
                       bool_and(created_at < now() - make_interval(secs => $1)) OVER (ORDER BY seq_last) AS old
                  FROM (SELECT seq_last, created_at FROM notifications ORDER BY seq_last LIMIT $2) AS oldest
            ) AS judged WHERE old))
        RETURNING 1
    )
    SELECT count(*) AS count FROM pruned
    """,
)


async def prune_log(database: Database, keep: float, limit: int) -> int:
    """Delete up to `limit` commits older than `keep` seconds, the oldest first. Return how many."""
    count: int = (await database.fetch(PRUNE_LOG, keep, limit))[0]["count"]
    return count


async def vacuum_live_tables(database: Database) -> None:
    """Remove the dead rows that claims would have to skip."""
    await database.fetch(_VACUUM)
