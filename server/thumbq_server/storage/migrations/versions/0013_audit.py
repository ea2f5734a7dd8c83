"""The keys that sign the tickets of pages.

A table is added and nothing else: servers of an older version do not know it.
"""

from alembic import op

revision = "0013"
down_revision = "0012"


def upgrade() -> None:
    op.execute("""
CREATE TABLE signing_keys (
    id         text PRIMARY KEY,
    seed       bytea NOT NULL CHECK (octet_length(seed) = 32),
    created_at timestamptz NOT NULL DEFAULT now()
)
""")
