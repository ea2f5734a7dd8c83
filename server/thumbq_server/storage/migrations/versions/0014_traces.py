"""The traces of jobs whose producers named one.

A table is added and nothing else: servers of an older version do not know it.
"""

from alembic import op

revision = "0014"
down_revision = "0013"


def upgrade() -> None:
    op.execute("""
CREATE TABLE job_traces (
    job_id          bigint PRIMARY KEY,
    traceparent     text NOT NULL,
    earlier_attempt text
)
""")
