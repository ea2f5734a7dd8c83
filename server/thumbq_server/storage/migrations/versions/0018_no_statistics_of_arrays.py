"""An analyze leaves the arrays of the log alone.

Nothing is rewritten. A server of an older version goes on: no plan of any version depends on these statistics.
"""

from alembic import op
from sqlalchemy import text

revision = "0018"
down_revision = "0017"


def upgrade() -> None:
    limit = op.get_bind().scalar(text("SHOW lock_timeout"))
    # An autovacuum of the log makes way for a lock that has waited for deadlock_timeout, which is a second.
    op.execute("SET LOCAL lock_timeout = '2s'")
    op.execute("""
ALTER TABLE notifications
    ALTER COLUMN model_ids SET STATISTICS 0, ALTER COLUMN job_ids SET STATISTICS 0,
    ALTER COLUMN attempt_counts SET STATISTICS 0, ALTER COLUMN error_messages SET STATISTICS 0,
    ALTER COLUMN next_attempt_ats SET STATISTICS 0
""")
    op.execute(f"SET LOCAL lock_timeout = '{limit}'")
