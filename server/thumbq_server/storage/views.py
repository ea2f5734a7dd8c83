"""The views that put together what the tables do not say by themselves. It is done nowhere else."""

from sqlalchemy import BigInteger, Column, DateTime, LargeBinary, MetaData, SmallInteger, Table, Text

from thumbq_server.storage.fragments import rank

Timestamp = DateTime(timezone=True)

# Metadata of its own: a view is no table to be created.
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
    Column("lease_seq", BigInteger),
    Column("updated_at", Timestamp),
    Column("run_at", Timestamp),
    Column("lease_expires_at", Timestamp),
    Column("worker_id", Text),
)

# A row of job_states, and what a producer said of the job. A view of its own, since servers of an older version read
# every column of job_states. The columns stand in the order of JobRecord.
job_records = Table(
    "job_records",
    MetaData(),
    *(Column(column.name, column.type) for column in job_states.columns),
    Column("kind", Text),
    Column("options", Text),
)

# Where a Pending job stands in `ready`, which has no index on the job: after its last attempt, else where it began.
PLACES = f"""
SELECT j.id AS job_id, coalesce(a.next_attempt_at, j.due_at) AS run_at,
       CASE WHEN j.kind IS NULL THEN {rank("coalesce(a.next_attempt_at, j.due_at)", "j.priority")}
            ELSE 'infinity' END AS rank
  FROM jobs j
  LEFT JOIN LATERAL (
    SELECT next_attempt_at FROM attempts WHERE job_id = j.id AND lease_seq > coalesce(j.since, 0)
     ORDER BY lease_seq DESC LIMIT 1) a ON true
"""

# When a Pending job of `job_states` is due, as in PLACES.
_RUN_AT = "coalesce(CASE WHEN a.lease_seq > coalesce(j.since, 0) THEN a.next_attempt_at END, j.due_at)"

# Each job is looked up by itself (OFFSET 0): a join of whole tables would be planned while they are empty, and kept.
# A job stands in `ready`, or in `leases`, or its last attempt has ended it. Attempts up to jobs.since belong to an
# earlier life of the job; their errors are forgotten.
JOB_STATES = f"""
SELECT j.id, j.model_id, j.model_hash, j.request_no, j.priority, j.max_attempts, e.error_message, j.created_at,
       CASE WHEN r.job_id IS NULL AND l.job_id IS NULL THEN a.ended_at END AS finished_at,
       CASE WHEN l.job_id IS NOT NULL THEN 'Processing' WHEN r.job_id IS NOT NULL THEN 'Pending' ELSE a.outcome END
         AS status,
       coalesce(l.attempt, r.attempt, a.attempt) AS attempt_count,
       greatest(l.lease_seq, a.lease_seq, 0) AS lease_seq,
       coalesce(l.claimed_at, greatest(a.ended_at, j.created_at, j.reset_at)) AS updated_at,
       r.run_at, l.expires_at AS lease_expires_at, w.worker_id
  FROM jobs j
  LEFT JOIN LATERAL (
    SELECT lease_seq, outcome, attempt, ended_at, next_attempt_at FROM attempts WHERE job_id = j.id
     ORDER BY lease_seq DESC LIMIT 1) a ON true
  LEFT JOIN LATERAL (
    SELECT error_message FROM attempts
     WHERE job_id = j.id AND lease_seq > coalesce(j.since, 0) AND outcome <> 'Released'
     ORDER BY lease_seq DESC LIMIT 1) e ON true
  LEFT JOIN LATERAL (
    SELECT run_at, attempt, job_id FROM ready
     WHERE job_id = j.id
       AND rank = CASE WHEN j.kind IS NULL THEN {rank(_RUN_AT, "j.priority")} ELSE 'infinity' END
    OFFSET 0) r ON true
  LEFT JOIN LATERAL (SELECT * FROM leases WHERE job_id = j.id OFFSET 0) l ON true
  LEFT JOIN LATERAL (SELECT worker_id FROM workers WHERE id = l.session OFFSET 0) w ON true
"""

JOB_RECORDS = """
SELECT s.*, coalesce(j.kind, 'Model') AS kind, j.options FROM job_states s JOIN jobs j ON j.id = s.id
"""

# What models show: the last end with an end_no, and the last picture among those.
THUMBNAILS = """
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
"""

# In the order in which they build on each other.
VIEWS = {"places": PLACES, "job_states": JOB_STATES, "job_records": JOB_RECORDS, "thumbnails": THUMBNAILS}
