"""What tells one history of the database from another (docs/decisions/0016-histories.md)."""

from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.execute("ALTER TABLE queue_head ADD COLUMN beat bigint NOT NULL DEFAULT 0, ADD COLUMN identity text")
