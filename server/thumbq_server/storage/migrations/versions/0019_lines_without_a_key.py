"""Lines that come without a key, where callers need one, have a place of their own in the log of a job.

A column is added and nothing else: lines that servers of an older version write count as lines with a key.
"""

from alembic import op

revision = "0019"
down_revision = "0018"


def upgrade() -> None:
    op.execute("ALTER TABLE job_events ADD COLUMN with_key boolean NOT NULL DEFAULT true")
