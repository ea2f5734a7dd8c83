"""Ends that the log does not tell are counted in a table, and rows of the log say when they count no end.

Nothing is rewritten. A server of an older version goes on, and counts ends as it did.
"""

from alembic import op

revision = "0017"
down_revision = "0015"


def upgrade() -> None:
    op.execute("ALTER TABLE notifications ADD COLUMN counted_apart boolean")
    op.execute("""
CREATE TABLE other_ends (
    id       bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    ended_at timestamptz NOT NULL DEFAULT now(),
    outcome  text NOT NULL CHECK (outcome IN ('Completed', 'Failed', 'Expired', 'Cancelled', 'Released')),
    count    bigint NOT NULL CHECK (count > 0)
)
""")
    op.execute("CREATE INDEX other_ends_by_time ON other_ends (ended_at)")
