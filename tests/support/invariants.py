"""The invariants of every queue, after any operation."""

from thumbq_server.storage.postgres.database import Database

_IN_NO_OR_TWO_PLACES = """
    SELECT j.id, j.outcome, r.job_id AS ready, l.job_id AS leased, d.status AS dead
      FROM jobs j LEFT JOIN ready r ON r.job_id = j.id LEFT JOIN leases l ON l.job_id = j.id
      LEFT JOIN dead_letters d ON d.job_id = j.id
     WHERE num_nonnulls(r.job_id, l.job_id, j.outcome) <> 1
        OR nullif(j.outcome, 'Completed') IS DISTINCT FROM d.status
"""

_WITHOUT_JOB = """
    SELECT job_id FROM (
        SELECT job_id FROM ready UNION ALL SELECT job_id FROM leases UNION ALL SELECT job_id FROM dead_letters
        UNION ALL SELECT job_id FROM thumbnails) AS p
     WHERE NOT EXISTS (SELECT FROM jobs WHERE id = p.job_id)
"""

_OUT_OF_BOUNDS = """
    SELECT j.id FROM jobs j LEFT JOIN ready r ON r.job_id = j.id LEFT JOIN leases l ON l.job_id = j.id
     WHERE r.attempt >= j.max_attempts OR l.attempt > j.max_attempts OR j.attempt_count > j.max_attempts
        OR r.lease_seq < j.lease_seq OR l.lease_seq <= j.lease_seq
        OR r.rank <> r.run_at - j.priority * interval '60s' OR l.rank <> l.run_at - j.priority * interval '60s'
"""

_HOLES_IN_THE_LOG = """
    SELECT seq_first, seq_last FROM (
        SELECT seq_first, seq_last, lag(seq_last, 1, 0::bigint) OVER (ORDER BY seq_last) AS before
          FROM notifications) AS n
     WHERE seq_first <> before + 1 OR seq_last < seq_first
"""

_HEAD = """
    SELECT seq, last, completed, really_completed FROM (
        SELECT seq, (SELECT coalesce(max(seq_last), 0) FROM notifications) AS last,
               completed, (SELECT count(*) FROM jobs WHERE outcome = 'Completed') AS really_completed
          FROM queue_head) AS h
     WHERE (seq, completed) <> (last, really_completed)
"""

_NEVER = {
    "a job is in no place or in two": _IN_NO_OR_TWO_PLACES,
    "a row belongs to no job": _WITHOUT_JOB,
    "a number is out of bounds": _OUT_OF_BOUNDS,
    "the log has a hole": _HOLES_IN_THE_LOG,
    "the head does not agree with what it counts": _HEAD,
}


async def violations(database: Database) -> list[str]:
    """Return a sentence for each row that no queue may have at any time."""
    return [f"{what}: {dict(row)}" for what, never in _NEVER.items() for row in await database.fetch(never)]


async def assert_sound(database: Database) -> None:
    """Assert what is true of every queue at any time."""
    assert await violations(database) == []
