"""The audit log, and the keys that sign the tickets of pages.

Tables are added and nothing else: servers of an older version do not know them.
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
    op.execute("""
CREATE TABLE audit (
    id        bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at        timestamptz NOT NULL DEFAULT now(),
    who       text NOT NULL,
    address   text NOT NULL,
    action    text NOT NULL,
    outcome   text NOT NULL CHECK (outcome IN ('begun', 'done', 'refused', 'failed')),
    detail    text NOT NULL,
    reference text NOT NULL
)
""")
