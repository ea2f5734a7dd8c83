"""All jobs are counted in the head of the queue, so that Pending jobs need no counting."""

from alembic import op

revision = "0008"
down_revision = "0005"


def upgrade() -> None:
    op.execute("ALTER TABLE queue_head ADD COLUMN jobs bigint NOT NULL DEFAULT 0")
    op.execute("UPDATE queue_head SET jobs = (SELECT count(*) FROM jobs)")
