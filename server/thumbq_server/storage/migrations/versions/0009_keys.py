"""API keys."""

from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    op.execute("""
CREATE TABLE keys (
    prefix       text PRIMARY KEY,
    digest       bytea NOT NULL CHECK (octet_length(digest) = 32),
    role         text NOT NULL CHECK (role IN ('worker', 'producer', 'viewer', 'admin')),
    name         text NOT NULL,
    created_at   timestamptz NOT NULL DEFAULT now(),
    expires_at   timestamptz,
    last_used_at timestamptz,
    revoked_at   timestamptz
)
""")
