"""How far the jobs under way have come.

A table is added and nothing else: servers of an older version do not know it.
"""

from alembic import op

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    op.execute("""
CREATE UNLOGGED TABLE job_progress (
    job_id      bigint PRIMARY KEY,
    lease_seq   bigint NOT NULL,
    fraction    double precision NOT NULL CHECK (fraction BETWEEN 0 AND 1),
    message     text NOT NULL,
    reported_at timestamptz NOT NULL DEFAULT now()
)
""")
