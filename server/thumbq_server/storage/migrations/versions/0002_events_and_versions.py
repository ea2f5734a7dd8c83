"""The log of each job, as its workers write it; versions of models, and the last picture of each."""

from alembic import op

revision = "0002"
down_revision = "0001"

_STATEMENTS = """
CREATE SEQUENCE job_event_seq;

CREATE TABLE job_events (
    id            bigint PRIMARY KEY,
    job_id        bigint NOT NULL,
    created_at    timestamptz NOT NULL DEFAULT now(),
    event_type    text NOT NULL,
    message       text NOT NULL,
    metadata      text,
    error_message text
);
CREATE INDEX job_events_of_job ON job_events (job_id, id);

CREATE TABLE model_versions (
    version_id   bigint PRIMARY KEY,
    model_id     bigint NOT NULL,
    model_hash   bytea NOT NULL,
    created_at   timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX model_versions_of_file ON model_versions (model_id, model_hash);
"""


def upgrade() -> None:
    for statement in _STATEMENTS.split(";\n"):
        if statement.strip():
            op.execute(statement)
