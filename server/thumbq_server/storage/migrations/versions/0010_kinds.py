"""Kinds of jobs, and their options.

Columns are added and nothing else: no table is rewritten, and servers of an older version go on with Models.
"""

from alembic import op

revision = "0010"
down_revision = "0009"

STEPS = """
ALTER TABLE jobs ADD COLUMN kind text, ADD COLUMN options text;
ALTER TABLE ready ADD COLUMN kind text, ADD COLUMN kind_rank timestamptz, ADD COLUMN options text;
ALTER TABLE leases ADD COLUMN rerun_kind text, ADD COLUMN rerun_options text;
CREATE INDEX ready_of_kind ON ready (kind, kind_rank, job_id) WHERE kind IS NOT NULL;

CREATE OR REPLACE VIEW places AS
SELECT j.id AS job_id, coalesce(a.next_attempt_at, j.due_at) AS run_at,
       CASE WHEN j.kind IS NULL THEN coalesce(a.next_attempt_at, j.due_at) - j.priority * interval '60 seconds'
            ELSE 'infinity' END AS rank
  FROM jobs j
  LEFT JOIN LATERAL (
    SELECT next_attempt_at FROM attempts WHERE job_id = j.id AND lease_seq > j.since
     ORDER BY lease_seq DESC LIMIT 1) a ON true
;

CREATE OR REPLACE VIEW job_states AS
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
       AND rank = CASE WHEN j.kind IS NULL
                       THEN coalesce(CASE WHEN a.lease_seq > j.since THEN a.next_attempt_at END, j.due_at)
                            - j.priority * interval '60 seconds'
                       ELSE 'infinity' END
    OFFSET 0) r ON true
  LEFT JOIN LATERAL (SELECT * FROM leases WHERE job_id = j.id OFFSET 0) l ON true
  LEFT JOIN LATERAL (SELECT worker_id FROM workers WHERE id = l.session OFFSET 0) w ON true
;

CREATE VIEW job_records AS
SELECT s.*, coalesce(j.kind, 'Model') AS kind, j.options FROM job_states s JOIN jobs j ON j.id = s.id
"""


def upgrade() -> None:
    for step in STEPS.split(";\n"):
        op.execute(step)
