"""What keeps the tables small: dead rows are vacuumed away, old notifications deleted."""

from thumbq_server.storage.postgres.database import Database

_VACUUM = "VACUUM (SKIP_LOCKED, INDEX_CLEANUP ON, TRUNCATE OFF) ready, leases"

# Always a piece of its beginning: of two commits, the later one may have begun earlier, and be older by its clock.
_PRUNE = """
    WITH pruned AS (
        DELETE FROM notifications WHERE seq_last = ANY(ARRAY(
            SELECT seq_last FROM (
                SELECT seq_last, bool_and(created_at < now() - make_interval(secs => $1)) OVER (ORDER BY seq_last) AS go
                  FROM (SELECT seq_last, created_at FROM notifications ORDER BY seq_last LIMIT $2) AS oldest
            ) AS judged WHERE go))
        RETURNING 1
    )
    SELECT count(*) AS count FROM pruned
"""


async def prune(database: Database, keep: float, limit: int) -> int:
    """Forget up to `limit` commits older than `keep` seconds, the oldest first. Returns how many."""
    count: int = (await database.fetch(_PRUNE, keep, limit))[0]["count"]
    return count


async def vacuum_live_tables(database: Database) -> None:
    """Remove the dead rows that claims would have to skip."""
    await database.fetch(_VACUUM)
