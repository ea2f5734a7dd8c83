"""Workers have counts of what they completed and failed, and a rate.

Columns are added and nothing else: nothing is rewritten. A server of an older version goes on, and counts nothing.
"""

from alembic import op

revision = "0020"
down_revision = "0019"


def upgrade() -> None:
    op.execute("""
ALTER TABLE workers
    ADD COLUMN completed bigint NOT NULL DEFAULT 0,
    ADD COLUMN failed bigint NOT NULL DEFAULT 0,
    ADD COLUMN completed_per_minute double precision NOT NULL DEFAULT 0,
    ADD COLUMN counted_at timestamptz
""")
