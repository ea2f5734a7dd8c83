"""The pause of the queue."""

from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.execute("""
CREATE TABLE queue_pause (
    only_row  boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    paused_at timestamptz NOT NULL DEFAULT now(),
    paused_by text NOT NULL,
    reason    text NOT NULL
)
""")
