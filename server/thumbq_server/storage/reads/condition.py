"""How PostgreSQL itself is."""

from thumbq_server.domain.operations import Condition
from thumbq_server.storage.postgres.database import Database
from thumbq_server.storage.statements import Statement

# A role without pg_read_all_stats does not see when the transactions of other roles began. Every role sees the waits
# for locks. Vacuum keeps no dead rows.
CONDITION = Statement(
    "condition",
    "",
    """
    WITH waits AS MATERIALIZED (
        SELECT greatest(extract(epoch FROM clock_timestamp() - l.waitstart), 0)::float8 AS seconds
          FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid
         WHERE NOT l.granted AND a.datname = current_database()
    )
    SELECT relname, n_dead_tup,
           CASE WHEN pg_has_role('pg_read_all_stats', 'USAGE') THEN coalesce(
             (SELECT extract(epoch FROM now() - min(xact_start))::float8
                FROM pg_stat_activity
               WHERE datname = current_database() AND pid <> pg_backend_pid()
                 AND backend_type <> 'autovacuum worker'), 0)
           END AS oldest,
           (SELECT count(*) FROM waits) AS lock_waits,
           (SELECT coalesce(max(seconds), 0) FROM waits) AS longest_lock_wait,
           pg_database_size(current_database()) AS size_bytes
      FROM pg_stat_user_tables WHERE schemaname = current_schema()
    """,
)


async def read_condition(database: Database) -> Condition:
    """Return how many dead rows there are, how old the oldest transaction is, how many wait for locks, and the size."""
    rows = await database.fetch(CONDITION)
    if not rows:
        return Condition({}, None, 0, 0.0, 0)
    dead_rows = {row["relname"]: row["n_dead_tup"] for row in rows}
    first = rows[0]
    return Condition(dead_rows, first["oldest"], first["lock_waits"], first["longest_lock_wait"], first["size_bytes"])
