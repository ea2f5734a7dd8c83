"""Versions of models, and the last picture of each."""

from alembic import op

revision = "0003"
down_revision = "0002"

_STATEMENTS = """
CREATE TABLE model_versions (
    version_id   bigint PRIMARY KEY,
    model_id     bigint NOT NULL,
    model_hash   bytea NOT NULL,
    created_at   timestamptz NOT NULL DEFAULT now(),
    processed_at timestamptz,
    path         text,
    size_bytes   bigint,
    width        integer,
    height       integer
);
CREATE INDEX model_versions_of_file ON model_versions (model_id, model_hash);
"""


def upgrade() -> None:
    for statement in _STATEMENTS.split(";\n"):
        if statement.strip():
            op.execute(statement)
