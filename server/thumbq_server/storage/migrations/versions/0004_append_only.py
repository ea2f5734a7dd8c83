"""Append-only ends: each end of an attempt becomes a row of `attempts`, and what a model shows is derived from them.

`jobs` is written by an enqueue and by resets only, `ready` has everything that a claim hands out, and a lease carries
its model. All data moves in one transaction: an upgrade that is interrupted has changed nothing, and the next start
does it again.
"""

from alembic import op

revision = "0004"
down_revision = "0003"

_STATEMENTS = """
LOCK TABLE jobs, ready, leases, dead_letters, thumbnails, queue_head IN ACCESS EXCLUSIVE MODE;
DROP VIEW job_states;
ALTER TABLE jobs RENAME TO old_jobs;
ALTER TABLE ready RENAME TO old_ready;
ALTER TABLE leases RENAME TO old_leases;
ALTER TABLE old_jobs
    DROP CONSTRAINT jobs_model_id_check, DROP CONSTRAINT jobs_model_hash_check,
    DROP CONSTRAINT jobs_priority_check, DROP CONSTRAINT jobs_max_attempts_check;
ALTER TABLE old_ready DROP CONSTRAINT ready_attempt_check;
ALTER TABLE old_leases DROP CONSTRAINT leases_attempt_check, DROP CONSTRAINT leases_lease_seq_check;
ALTER TABLE old_jobs RENAME CONSTRAINT jobs_pkey TO old_jobs_pkey;
ALTER TABLE old_jobs RENAME CONSTRAINT jobs_model_id_model_hash_key TO old_jobs_key;
ALTER TABLE old_ready RENAME CONSTRAINT ready_pkey TO old_ready_pkey;
ALTER TABLE old_leases RENAME CONSTRAINT leases_pkey TO old_leases_pkey;
ALTER SEQUENCE jobs_id_seq RENAME TO old_jobs_id_seq;

CREATE SEQUENCE claim_seq;
CREATE SEQUENCE end_seq;

CREATE TABLE jobs (
    id           bigint GENERATED ALWAYS AS IDENTITY,
    model_id     bigint NOT NULL CHECK (model_id > 0),
    request_no   bigint NOT NULL DEFAULT nextval('request_seq'),
    since        bigint NOT NULL DEFAULT 0,
    created_at   timestamptz NOT NULL DEFAULT now(),
    due_at       timestamptz NOT NULL DEFAULT now(),
    reset_at     timestamptz NOT NULL DEFAULT now(),
    priority     smallint NOT NULL CHECK (priority BETWEEN 0 AND 9),
    max_attempts smallint NOT NULL CHECK (max_attempts BETWEEN 1 AND 10),
    model_hash   bytea NOT NULL CHECK (octet_length(model_hash) = 32)
);

CREATE TABLE ready (
    rank         timestamptz NOT NULL,
    job_id       bigint NOT NULL,
    run_at       timestamptz NOT NULL,
    model_id     bigint NOT NULL,
    created_at   timestamptz NOT NULL,
    priority     smallint NOT NULL,
    max_attempts smallint NOT NULL,
    attempt      smallint NOT NULL CHECK (attempt >= 0),
    model_hash   bytea NOT NULL,
    PRIMARY KEY (rank, job_id)
) WITH (autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_cost_delay = 0);

CREATE TABLE leases (
    job_id           bigint PRIMARY KEY,
    lease_seq        bigint NOT NULL CHECK (lease_seq > 0),
    model_id         bigint NOT NULL,
    session          bigint NOT NULL,
    claimed_at       timestamptz NOT NULL,
    expires_at       timestamptz NOT NULL,
    claim_id         bigint NOT NULL DEFAULT 0,
    attempt          smallint NOT NULL CHECK (attempt > 0),
    contested        boolean NOT NULL DEFAULT false,
    rerun_request_no bigint
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_cost_delay = 0);

CREATE TABLE attempts (
    job_id          bigint NOT NULL,
    lease_seq       bigint NOT NULL,
    end_no          bigint,
    ended_at        timestamptz NOT NULL DEFAULT now(),
    attempt         smallint NOT NULL CHECK (attempt >= 0),
    outcome         text NOT NULL CHECK (outcome IN ('Completed', 'Failed', 'Cancelled', 'Released')),
    session         bigint,
    claimed_at      timestamptz,
    path            text,
    size_bytes      bigint CHECK (size_bytes >= 0),
    width           integer CHECK (width > 0),
    height          integer CHECK (height > 0),
    error_message   text,
    next_attempt_at timestamptz,
    request_no      bigint,
    dead            boolean CHECK (dead),
    CHECK ((outcome = 'Completed') = (path IS NOT NULL)),
    CHECK (outcome <> 'Failed' OR error_message IS NOT NULL),
    CHECK (outcome <> 'Completed' OR error_message IS NULL),
    CHECK (end_no IS NULL OR outcome IN ('Completed', 'Failed'))
);

ALTER TABLE queue_head
    ADD COLUMN failed bigint NOT NULL DEFAULT 0 CHECK (failed >= 0),
    ADD COLUMN cancelled bigint NOT NULL DEFAULT 0 CHECK (cancelled >= 0);
UPDATE queue_head SET failed = (SELECT count(*) FROM dead_letters WHERE status = 'Failed'),
                      cancelled = (SELECT count(*) FROM dead_letters WHERE status = 'Cancelled');

-- live jobs, with their place in the order of claims
CREATE TABLE old_live AS
SELECT job_id, run_at, lease_seq, attempt, false AS leased FROM old_ready
UNION ALL SELECT job_id, run_at, lease_seq, attempt, true FROM old_leases;
ALTER TABLE old_live ADD PRIMARY KEY (job_id);
ANALYZE old_live;

INSERT INTO jobs (id, model_id, request_no, since, created_at, due_at, reset_at, priority, max_attempts, model_hash)
OVERRIDING SYSTEM VALUE
SELECT j.id, j.model_id, j.request_no, CASE WHEN j.outcome IS NOT NULL AND j.lease_seq = 0 THEN -1 ELSE 0 END,
       j.created_at, coalesce(l.run_at, j.due_at),
       CASE WHEN j.outcome IS NULL AND j.error_message IS NULL THEN j.updated_at ELSE j.created_at END,
       j.priority, j.max_attempts, j.model_hash
  FROM old_jobs j LEFT JOIN old_live l ON l.job_id = j.id;
SELECT setval('jobs_id_seq', last_value, is_called) FROM old_jobs_id_seq;

INSERT INTO ready (rank, job_id, run_at, model_id, created_at, priority, max_attempts, attempt, model_hash)
SELECT r.rank, r.job_id, r.run_at, j.model_id, j.created_at, j.priority, j.max_attempts, r.attempt, j.model_hash
  FROM old_ready r JOIN old_jobs j ON j.id = r.job_id;

INSERT INTO leases (job_id, lease_seq, model_id, session, claimed_at, expires_at, claim_id, attempt, rerun_request_no)
SELECT l.job_id, l.lease_seq, j.model_id, l.worker, l.claimed_at, l.expires_at, l.claim_id, l.attempt,
       l.rerun_request_no
  FROM old_leases l JOIN old_jobs j ON j.id = l.job_id;

-- ended jobs: their last attempt, with the picture where the model shows it
INSERT INTO attempts (job_id, lease_seq, end_no, ended_at, attempt, outcome, path, size_bytes, width, height,
                      error_message, request_no, dead)
SELECT j.id, j.lease_seq, CASE WHEN t.job_id IS NOT NULL THEN 2 END, j.finished_at, j.attempt_count, j.outcome,
       CASE WHEN j.outcome = 'Completed' THEN coalesce(t.path, '') END,
       CASE WHEN j.outcome = 'Completed' THEN t.size_bytes END, CASE WHEN j.outcome = 'Completed' THEN t.width END,
       CASE WHEN j.outcome = 'Completed' THEN t.height END,
       CASE WHEN j.outcome <> 'Completed' THEN j.error_message END, nullif(t.request_no, j.request_no),
       CASE WHEN j.outcome <> 'Completed' THEN true END
  FROM old_jobs j
  LEFT JOIN thumbnails t ON t.model_id = j.model_id AND t.job_id = j.id
        AND t.status = CASE j.outcome WHEN 'Completed' THEN 'Ready' WHEN 'Failed' THEN 'Failed' END
        AND t.attempt = j.attempt_count AND t.next_attempt_at IS NULL
 WHERE j.outcome IS NOT NULL;

-- live jobs: their last failure
INSERT INTO attempts (job_id, lease_seq, end_no, ended_at, attempt, outcome, error_message, next_attempt_at, request_no)
SELECT j.id, j.lease_seq, CASE WHEN t.job_id IS NOT NULL THEN 2 END, j.updated_at, greatest(t.attempt, j.attempt_count),
       'Failed', j.error_message, l.run_at, nullif(t.request_no, j.request_no)
  FROM old_jobs j JOIN old_live l ON l.job_id = j.id
  LEFT JOIN thumbnails t ON t.model_id = j.model_id AND t.job_id = j.id AND t.status = 'Failed'
        AND t.error_message = j.error_message
 WHERE j.error_message IS NOT NULL;
-- pictures and failures that models show, whose attempts were forgotten: they stand before every other attempt
INSERT INTO attempts (job_id, lease_seq, end_no, ended_at, attempt, outcome, path, size_bytes, width, height,
                      error_message, request_no)
SELECT t.job_id, -1, 2, t.processed_at, t.attempt, CASE t.status WHEN 'Ready' THEN 'Completed' ELSE 'Failed' END,
       CASE t.status WHEN 'Ready' THEN t.path END, CASE t.status WHEN 'Ready' THEN t.size_bytes END,
       CASE t.status WHEN 'Ready' THEN t.width END, CASE t.status WHEN 'Ready' THEN t.height END, t.error_message,
       t.request_no
  FROM thumbnails t
 WHERE NOT EXISTS (SELECT FROM attempts a WHERE a.job_id = t.job_id AND a.end_no IS NOT NULL);
INSERT INTO attempts (job_id, lease_seq, end_no, ended_at, attempt, outcome, path, size_bytes, width, height,
                      request_no)
SELECT j.id, -2, 1, t.processed_at, 1, 'Completed', t.path, t.size_bytes, t.width, t.height, 0
  FROM thumbnails t JOIN old_jobs j ON j.model_id = t.model_id AND j.model_hash = t.model_hash
 WHERE t.status = 'Failed' AND t.path IS NOT NULL;

SELECT setval('claim_seq', greatest(1, (SELECT max(lease_seq) FROM attempts), (SELECT max(lease_seq) FROM leases)));
SELECT setval('end_seq', 2);

DROP TABLE old_live;
DROP TABLE old_jobs;
DROP TABLE old_ready;
DROP TABLE old_leases;
DROP TABLE dead_letters;
DROP TABLE thumbnails;

ALTER TABLE jobs ADD PRIMARY KEY (id), ADD UNIQUE (model_id, model_hash);
ALTER TABLE attempts ADD PRIMARY KEY (job_id, lease_seq);
CREATE INDEX attempts_dead ON attempts (job_id) WHERE dead
"""

_VIEWS = {
    "places": """
SELECT j.id AS job_id, coalesce(a.next_attempt_at, j.due_at) AS run_at,
       coalesce(a.next_attempt_at, j.due_at) - j.priority * interval '60 seconds' AS rank
  FROM jobs j
  LEFT JOIN LATERAL (
    SELECT next_attempt_at FROM attempts WHERE job_id = j.id AND lease_seq > j.since
     ORDER BY lease_seq DESC LIMIT 1) a ON true
""",
    "job_states": """
SELECT j.id, j.model_id, j.model_hash, j.request_no, j.priority, j.max_attempts, e.error_message, j.created_at,
       CASE WHEN r.job_id IS NULL AND l.job_id IS NULL THEN a.ended_at END AS finished_at,
       CASE WHEN l.job_id IS NOT NULL THEN 'Processing' WHEN r.job_id IS NOT NULL THEN 'Pending' ELSE a.outcome END
         AS status,
       coalesce(l.attempt, r.attempt, a.attempt) AS attempt_count,
       greatest(l.lease_seq, a.lease_seq, 0) AS lease_seq,
       coalesce(l.claimed_at, greatest(a.ended_at, j.reset_at)) AS updated_at,
       r.run_at, l.expires_at AS lease_expires_at, w.worker_id
  FROM jobs j
  LEFT JOIN LATERAL (
    SELECT lease_seq, outcome, attempt, ended_at, next_attempt_at FROM attempts WHERE job_id = j.id
     ORDER BY lease_seq DESC LIMIT 1) a ON true
  LEFT JOIN LATERAL (
    SELECT error_message FROM attempts
     WHERE job_id = j.id AND lease_seq > j.since AND outcome <> 'Released'
     ORDER BY lease_seq DESC LIMIT 1) e ON true
  LEFT JOIN LATERAL (
    SELECT run_at, attempt, job_id FROM ready
     WHERE job_id = j.id
       AND rank = coalesce(CASE WHEN a.lease_seq > j.since THEN a.next_attempt_at END, j.due_at)
                  - j.priority * interval '60 seconds'
    OFFSET 0) r ON true
  LEFT JOIN LATERAL (SELECT * FROM leases WHERE job_id = j.id OFFSET 0) l ON true
  LEFT JOIN LATERAL (SELECT worker_id FROM workers WHERE id = l.session OFFSET 0) w ON true
""",
    "thumbnails": """
SELECT t.model_id, t.job_id, t.request_no, t.attempt, t.status, t.error_message, t.next_attempt_at, p.path,
       p.size_bytes, p.width, p.height, p.model_hash, t.created_at, t.ended_at AS processed_at
  FROM (
    SELECT DISTINCT ON (j.model_id) j.model_id, a.job_id, coalesce(a.request_no, j.request_no) AS request_no, a.attempt,
           CASE a.outcome WHEN 'Completed' THEN 'Ready' ELSE 'Failed' END AS status, a.error_message,
           CASE a.outcome WHEN 'Failed' THEN a.next_attempt_at END AS next_attempt_at, j.created_at, a.ended_at
      FROM jobs j JOIN attempts a ON a.job_id = j.id
     WHERE a.end_no IS NOT NULL ORDER BY j.model_id, a.end_no DESC) t
  LEFT JOIN LATERAL (
    SELECT a.path, a.size_bytes, a.width, a.height, j.model_hash
      FROM jobs j JOIN attempts a ON a.job_id = j.id
     WHERE j.model_id = t.model_id AND a.end_no IS NOT NULL AND a.outcome = 'Completed'
     ORDER BY a.end_no DESC LIMIT 1) p ON true
""",
}


def upgrade() -> None:
    for statement in _STATEMENTS.split(";\n"):
        op.execute(statement)
    for name, query in _VIEWS.items():
        op.execute(f"CREATE VIEW {name} AS {query}")
