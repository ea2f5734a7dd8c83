"""Jobs, their live state, the thumbnails, and the log of notifications.

Live state is kept in narrow tables, the record in `jobs` (docs/decisions/0002-narrow-tables.md). A job stands in
exactly one place: in `ready` (Pending), in `leases` (Processing), or it has an outcome in `jobs`. There are no foreign
keys from the narrow tables: a check per row costs more than the rest of the row.
"""

from alembic import op

revision = "0001"
down_revision = None

_STATEMENTS = """
-- Every enqueue and reset takes a number; the thumbnail of a model follows the highest: the newest request wins.
CREATE SEQUENCE request_seq;

CREATE TABLE jobs (
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    model_id      bigint NOT NULL CHECK (model_id > 0),
    model_hash    bytea NOT NULL CHECK (octet_length(model_hash) = 32),
    request_no    bigint NOT NULL DEFAULT nextval('request_seq'),
    priority      smallint NOT NULL CHECK (priority BETWEEN 0 AND 9),
    max_attempts  smallint NOT NULL CHECK (max_attempts BETWEEN 1 AND 10),
    -- the next two are as of the last end of an attempt; live values are in ready and leases
    attempt_count smallint NOT NULL DEFAULT 0,
    lease_seq     integer NOT NULL DEFAULT 0,
    outcome       text CHECK (outcome IN ('Completed', 'Failed', 'Cancelled')),
    error_message text,
    created_at    timestamptz NOT NULL DEFAULT now(),
    -- when the first attempt was due: later than created_at for an enqueue with a delay
    due_at        timestamptz NOT NULL DEFAULT now(),
    updated_at    timestamptz NOT NULL DEFAULT now(),
    finished_at   timestamptz,
    CHECK ((outcome IS NULL) = (finished_at IS NULL)),
    UNIQUE (model_id, model_hash)
) WITH (fillfactor = 50);
-- no index on, or with a predicate on, anything that a transition changes: updates stay HOT

-- Pending jobs. A claim scans this and nothing else.
CREATE TABLE ready (
    job_id    bigint PRIMARY KEY,
    -- run_at less a minute for each step of priority: one index serves priority and ageing
    rank      timestamptz NOT NULL,
    run_at    timestamptz NOT NULL,
    attempt   smallint NOT NULL CHECK (attempt >= 0),
    lease_seq integer NOT NULL CHECK (lease_seq >= 0)
) WITH (autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_cost_delay = 0);
CREATE INDEX ready_claim ON ready (rank, job_id);

-- Processing jobs. lease_seq is the fence: it only ever grows, and a result must name it.
CREATE TABLE leases (
    job_id     bigint PRIMARY KEY,
    lease_seq  integer NOT NULL CHECK (lease_seq > 0),
    worker     bigint NOT NULL,
    attempt    smallint NOT NULL CHECK (attempt > 0),
    rank       timestamptz NOT NULL,
    run_at     timestamptz NOT NULL,
    claimed_at timestamptz NOT NULL,
    -- not indexed, so that extensions stay HOT: the table is as small as what is in flight
    expires_at timestamptz NOT NULL,
    -- which claim it came from: one that broke off before its answer is found again by this
    claim_id   bigint NOT NULL DEFAULT 0,
    -- set by an enqueue with force: the job runs again when this attempt has ended
    rerun_request_no bigint
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_cost_delay = 0);

-- Jobs that ended without a picture.
CREATE TABLE dead_letters (
    job_id   bigint PRIMARY KEY,
    status   text NOT NULL CHECK (status IN ('Failed', 'Cancelled')),
    ended_at timestamptz NOT NULL DEFAULT now()
);

-- Who claims: a session of a streaming worker, or a worker of unary calls (session '').
CREATE TABLE workers (
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    worker_id     text NOT NULL,
    session_id    text NOT NULL DEFAULT '',
    version       text NOT NULL DEFAULT '',
    labels        jsonb NOT NULL DEFAULT '{}',
    first_seen_at timestamptz NOT NULL DEFAULT now(),
    last_seen_at  timestamptz NOT NULL DEFAULT now(),
    UNIQUE (worker_id, session_id)
);

-- The outcome of the newest request of each model. path and what belongs to it stay when a re-render fails.
CREATE TABLE thumbnails (
    model_id      bigint PRIMARY KEY,
    job_id        bigint NOT NULL,
    request_no    bigint NOT NULL,
    attempt       smallint NOT NULL,
    status        text NOT NULL CHECK (status IN ('Ready', 'Failed')),
    error_message text,
    next_attempt_at timestamptz,
    path          text,
    size_bytes    bigint CHECK (size_bytes >= 0),
    width         integer CHECK (width > 0),
    height        integer CHECK (height > 0),
    model_hash    bytea,
    -- when it was first asked for
    created_at    timestamptz NOT NULL,
    processed_at  timestamptz NOT NULL DEFAULT now(),
    CHECK (status <> 'Ready' OR path IS NOT NULL),
    CHECK ((status = 'Failed') = (error_message IS NOT NULL))
) WITH (fillfactor = 70);

-- One row. Whoever announces something moves seq, and holds the row until the commit: so the log is contiguous and in
-- commit order, and a reader of seq > cursor has no hole to fear.
CREATE TABLE queue_head (
    only_row  boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    epoch     text NOT NULL DEFAULT substr(md5(random()::text || clock_timestamp()::text), 1, 8),
    seq       bigint NOT NULL DEFAULT 0 CHECK (seq >= 0),
    -- jobs that are Completed: counting them would read the whole of jobs
    completed bigint NOT NULL DEFAULT 0 CHECK (completed >= 0)
) WITH (fillfactor = 10);
INSERT INTO queue_head DEFAULT VALUES;

-- One row a commit, its notifications side by side in arrays.
CREATE TABLE notifications (
    seq_last         bigint PRIMARY KEY,
    seq_first        bigint NOT NULL,
    created_at       timestamptz NOT NULL DEFAULT now(),
    status           text NOT NULL CHECK (status IN ('None', 'Pending', 'Processing', 'Ready', 'Failed')),
    test             boolean NOT NULL DEFAULT false,
    model_ids        bigint[] NOT NULL,
    job_ids          bigint[] NOT NULL,
    attempt_counts   smallint[] NOT NULL,
    error_messages   text[],
    next_attempt_ats timestamptz[],
    thumbnail_url    text,
    CHECK (seq_last - seq_first + 1 = cardinality(model_ids)),
    CHECK (cardinality(model_ids) = cardinality(job_ids) AND cardinality(job_ids) = cardinality(attempt_counts))
);
-- compressing numbers costs more time than it saves room
ALTER TABLE notifications
    ALTER COLUMN model_ids SET STORAGE EXTERNAL,
    ALTER COLUMN job_ids SET STORAGE EXTERNAL,
    ALTER COLUMN attempt_counts SET STORAGE EXTERNAL;

-- The one place where the status of a job is put together.
CREATE VIEW job_states AS
SELECT j.id, j.model_id, j.model_hash, j.request_no, j.priority, j.max_attempts, j.error_message, j.created_at,
       j.finished_at,
       CASE WHEN l.job_id IS NOT NULL THEN 'Processing' ELSE coalesce(j.outcome, 'Pending') END AS status,
       coalesce(l.attempt, r.attempt, j.attempt_count) AS attempt_count,
       coalesce(l.lease_seq, r.lease_seq, j.lease_seq) AS lease_seq,
       coalesce(l.claimed_at, j.updated_at) AS updated_at,
       r.run_at, l.expires_at AS lease_expires_at, w.worker_id
  FROM jobs j
  LEFT JOIN ready r ON r.job_id = j.id
  LEFT JOIN leases l ON l.job_id = j.id
  LEFT JOIN workers w ON w.id = l.worker
"""


def upgrade() -> None:
    for statement in _STATEMENTS.split(";\n"):
        op.execute(statement)
