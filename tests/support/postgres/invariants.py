"""The invariants of every queue, after any operation."""

from thumbq_server.storage.postgres.database import Database

# A job is ready, or leased, or its last attempt has ended it; a dead one is marked as such, and no other.
_IN_NO_OR_TWO_PLACES = """
    SELECT j.id, r.job_id AS ready, l.job_id AS leased, a.outcome, a.next_attempt_at, d.count AS dead
      FROM jobs j LEFT JOIN ready r ON r.job_id = j.id LEFT JOIN leases l ON l.job_id = j.id
      LEFT JOIN LATERAL (
        SELECT * FROM attempts WHERE job_id = j.id AND lease_seq > coalesce(j.since, 0)
         ORDER BY lease_seq DESC LIMIT 1) a ON true
      LEFT JOIN LATERAL (SELECT count(*), max(lease_seq) FROM attempts WHERE job_id = j.id AND dead) d ON true
     WHERE num_nonnulls(r.job_id, l.job_id,
                        CASE WHEN a.outcome IN ('Completed', 'Failed', 'Cancelled') AND a.next_attempt_at IS NULL
                             THEN j.id END) <> 1
        OR d.count <> CASE WHEN a.outcome IN ('Failed', 'Cancelled') AND a.next_attempt_at IS NULL THEN 1 ELSE 0 END
        OR d.max <> a.lease_seq
"""

_WITHOUT_JOB = """
    SELECT job_id FROM (
        SELECT job_id FROM ready UNION ALL SELECT job_id FROM leases UNION ALL SELECT job_id FROM attempts) AS p
     WHERE NOT EXISTS (SELECT FROM jobs WHERE id = p.job_id)
"""

_OUT_OF_BOUNDS = """
    SELECT j.id FROM jobs j LEFT JOIN ready r ON r.job_id = j.id LEFT JOIN leases l ON l.job_id = j.id
      LEFT JOIN LATERAL (SELECT max(lease_seq) AS lease_seq FROM attempts WHERE job_id = j.id) a ON true
     WHERE r.attempt >= r.max_attempts OR l.attempt > j.max_attempts OR l.lease_seq <= a.lease_seq
        OR j.since > greatest(a.lease_seq, 0)
"""

# What a claim hands out is copied from the job, and the place of a job follows from the job and its attempts.
_NOT_AS_THE_JOB = """
    SELECT r.job_id FROM ready r LEFT JOIN jobs j ON j.id = r.job_id LEFT JOIN places p ON p.job_id = r.job_id
     WHERE (r.rank, r.run_at, r.model_id, r.created_at, r.priority, r.max_attempts, r.model_hash, r.kind, r.options,
            r.kind_rank)
           IS DISTINCT FROM
           (p.rank, p.run_at, j.model_id, j.created_at, j.priority, j.max_attempts, j.model_hash, j.kind, j.options,
            CASE WHEN j.kind IS NOT NULL THEN p.run_at - j.priority * interval '60 seconds' END)
     UNION ALL
    SELECT l.job_id FROM leases l JOIN jobs j ON j.id = l.job_id WHERE l.model_id <> j.model_id
"""

# An operator may have pruned the log: its first commit is any.
_HOLES_IN_THE_LOG = """
    SELECT seq_first, seq_last FROM (
        SELECT seq_first, seq_last, lag(seq_last, 1, seq_first - 1) OVER (ORDER BY seq_last) AS before
          FROM notifications) AS n
     WHERE seq_first <> before + 1 OR seq_last < seq_first
"""

_HEAD = """
    SELECT * FROM (
        SELECT seq, (SELECT coalesce(max(seq_last), seq) FROM notifications) AS last,
               ARRAY[jobs, completed, failed, cancelled] AS counters,
               (SELECT ARRAY[count(*), count(*) FILTER (WHERE status = 'Completed'),
                             count(*) FILTER (WHERE status = 'Failed'),
                             count(*) FILTER (WHERE status = 'Cancelled')] FROM job_states) AS counted
          FROM queue_head) AS h
     WHERE (seq, counters) IS DISTINCT FROM (last, counted)
"""

_NEVER = {
    "a job is in no place or in two": _IN_NO_OR_TWO_PLACES,
    "a row belongs to no job": _WITHOUT_JOB,
    "a number is out of bounds": _OUT_OF_BOUNDS,
    "a row is not as its job": _NOT_AS_THE_JOB,
    "the log has a hole": _HOLES_IN_THE_LOG,
    "the head does not agree with what it counts": _HEAD,
}


async def violations(database: Database) -> list[str]:
    """Return a sentence for each row that no queue may have at any time."""
    # Tables that were planned while they were empty are joined row by row: minutes for 10,000 jobs.
    if await database.fetch("SELECT FROM jobs OFFSET 500 LIMIT 1"):
        await database.fetch("ANALYZE jobs, ready, leases, attempts, notifications")
    return [f"{what}: {dict(row)}" for what, never in _NEVER.items() for row in await database.fetch(never)]


async def assert_sound(database: Database) -> None:
    """Assert what is true of every queue at any time."""
    assert await violations(database) == []
