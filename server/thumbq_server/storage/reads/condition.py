"""How PostgreSQL itself is."""

from thumbq_server.domain.operations import Condition
from thumbq_server.storage.postgres.database import Database
from thumbq_server.storage.statements import Statement

# A role without pg_read_all_stats does not see when the transactions of other roles began. Vacuum keeps
# no dead rows.
CONDITION = Statement(
    "condition",
    "",
    """
    SELECT relname, n_dead_tup,
           CASE WHEN pg_has_role('pg_read_all_stats', 'USAGE') THEN coalesce(
             (SELECT extract(epoch FROM now() - min(xact_start))::float8
                FROM pg_stat_activity
               WHERE datname = current_database() AND pid <> pg_backend_pid()
                 AND backend_type <> 'autovacuum worker'), 0)
           END AS oldest,
           pg_database_size(current_database()) AS size_bytes
      FROM pg_stat_user_tables WHERE schemaname = current_schema()
    """,
)


async def read_condition(database: Database) -> Condition:
    """Return how many dead rows there are, how old the oldest transaction is, and how large the database is."""
    rows = await database.fetch(CONDITION)
    dead_rows = {row["relname"]: row["n_dead_tup"] for row in rows}
    return Condition(dead_rows, rows[0]["oldest"], rows[0]["size_bytes"]) if rows else Condition({}, None, 0)
