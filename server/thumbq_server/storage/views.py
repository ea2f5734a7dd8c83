"""The view that puts the status of a job together. It is the one place where that is done."""

from sqlalchemy import BigInteger, Column, DateTime, Integer, LargeBinary, MetaData, SmallInteger, Table, Text

Timestamp = DateTime(timezone=True)

# Metadata of its own: a view is no table to be created. The columns stand in the order of JobRecord.
job_states = Table(
    "job_states",
    MetaData(),
    Column("id", BigInteger),
    Column("model_id", BigInteger),
    Column("model_hash", LargeBinary),
    Column("request_no", BigInteger),
    Column("priority", SmallInteger),
    Column("max_attempts", SmallInteger),
    Column("error_message", Text),
    Column("created_at", Timestamp),
    Column("finished_at", Timestamp),
    Column("status", Text),
    Column("attempt_count", SmallInteger),
    Column("lease_seq", Integer),
    Column("updated_at", Timestamp),
    Column("run_at", Timestamp),
    Column("lease_expires_at", Timestamp),
    Column("worker_id", Text),
)

JOB_STATES = """
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
