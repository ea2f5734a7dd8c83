"""The list of picture files that nothing shows any more."""

from alembic import op

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    op.execute("""
CREATE TABLE removals (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    path        text NOT NULL,
    reported_at timestamptz NOT NULL,
    due_at      timestamptz NOT NULL DEFAULT now()
)
""")
