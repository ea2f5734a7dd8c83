"""An analyze looks at 3,000 rows of the tables of jobs, instead of 30,000.

Nothing is rewritten. A server of an older version goes on: its statements for jobs find rows by key, whatever the
statistics say.
"""

from alembic import op
from sqlalchemy import text

revision = "0021"
down_revision = "0020"

_TABLES = ("jobs", "ready", "leases", "attempts")


def upgrade() -> None:
    connection = op.get_bind()
    limit = connection.scalar(text("SHOW lock_timeout"))
    # An autovacuum makes way for a lock that has waited for deadlock_timeout, which is a second.
    op.execute("SET LOCAL lock_timeout = '2s'")
    for table in _TABLES:
        columns = connection.scalars(
            text(
                "SELECT quote_ident(attname) FROM pg_attribute"
                " WHERE attrelid = CAST(:name AS regclass) AND attnum > 0 AND NOT attisdropped ORDER BY attnum"
            ),
            {"name": table},
        )
        op.execute(f"ALTER TABLE {table} {', '.join(f'ALTER COLUMN {name} SET STATISTICS 10' for name in columns)}")
    op.execute(f"SET LOCAL lock_timeout = '{limit}'")
