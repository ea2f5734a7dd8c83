"""The checks after a run. Each returns a sentence for every violation."""

from collections import Counter
from collections.abc import Iterator, Sequence

import asyncpg

from tests.system.chaos.actors.clients import Subscriber
from tests.system.chaos.checking.check_log import check_log, check_newest, check_subscriber
from tests.system.chaos.checking.check_reports import check_leases, check_reports
from tests.system.chaos.checking.evidence import Evidence

# Each statement must find no row.
_NEVER = {
    "a job is not in exactly one final state": """
        SELECT j.id AS job, j.status, r.job_id IS NOT NULL AS pending, l.job_id IS NOT NULL AS processing, dead
          FROM job_states j LEFT JOIN ready r ON r.job_id = j.id LEFT JOIN leases l ON l.job_id = j.id
          LEFT JOIN (SELECT job_id, count(*) AS dead FROM attempts WHERE dead GROUP BY job_id) d ON d.job_id = j.id
         WHERE j.status NOT IN ('Completed', 'Failed', 'Cancelled') OR r.job_id IS NOT NULL OR l.job_id IS NOT NULL
            OR dead IS DISTINCT FROM CASE WHEN j.status <> 'Completed' THEN 1 END""",
    "a row belongs to a job that does not exist": """
        SELECT job_id AS job FROM (
            SELECT job_id FROM ready UNION ALL SELECT job_id FROM leases UNION ALL SELECT job_id FROM attempts) p
         WHERE job_id NOT IN (SELECT id FROM jobs)""",
    "a job had more attempts than it may": """
        SELECT j.id AS job, a.attempt, j.max_attempts
          FROM jobs j JOIN attempts a ON a.job_id = j.id
         WHERE a.lease_seq > j.since AND a.attempt > j.max_attempts""",
    "a model does not show the end of its newest request": """
        SELECT j.id AS job, j.model_id, j.status, t.job_id AS shown, t.status
          FROM job_states j LEFT JOIN thumbnails t USING (model_id)
         WHERE NOT EXISTS (SELECT FROM jobs o WHERE o.model_id = j.model_id AND o.request_no > j.request_no)
           AND (j.status = 'Completed' AND (t.job_id, t.status) IS DISTINCT FROM (j.id, 'Ready')
                OR j.status = 'Failed' AND (t.job_id, t.status) IS DISTINCT FROM (j.id, 'Failed'))""",
    "the log has a hole": """
        SELECT before, seq_first FROM (
            SELECT seq_first, lag(seq_last, 1, 0::bigint) OVER (ORDER BY seq_last) AS before FROM notifications) n
         WHERE seq_first <> before + 1""",
    "the head does not agree with what it counts": """
        SELECT * FROM (
            SELECT seq, (SELECT coalesce(max(seq_last), 0) FROM notifications) AS last,
                   ARRAY[completed, failed, cancelled] AS counters,
                   (SELECT ARRAY[count(*) FILTER (WHERE status = 'Completed'),
                                 count(*) FILTER (WHERE status = 'Failed'),
                                 count(*) FILTER (WHERE status = 'Cancelled')] FROM job_states) AS counted
              FROM queue_head) h WHERE seq <> last OR counters <> counted""",
}
JOBS = "SELECT id, model_id, encode(model_hash, 'hex') AS hash FROM jobs"


async def check_all(connection: asyncpg.Connection, evidence: Evidence, subscribers: Sequence[Subscriber]) -> list[str]:
    """Run all checks, and return the problems."""
    return [
        *await check_tables(connection),
        *check_requests(evidence, await connection.fetch(JOBS)),
        *check_leases(evidence),
        *check_reports(evidence),
        *check_log(evidence),
        *check_newest(evidence),
        *(problem for subscriber in subscribers for problem in check_subscriber(evidence, subscriber)),
        *evidence.surprises,
    ]


async def check_tables(connection: asyncpg.Connection) -> list[str]:
    """Check what is true of the tables whenever no job is left."""
    problems = []
    for complaint, statement in _NEVER.items():
        problems += [f"{complaint}: {dict(row)}" for row in await connection.fetch(statement)]
    return problems


def check_requests(evidence: Evidence, rows: Sequence[asyncpg.Record]) -> Iterator[str]:
    """Check that no acknowledged request is lost, and that equal requests found the same job."""
    jobs = {row["id"]: (row["model_id"], row["hash"]) for row in rows}
    created: Counter[int] = Counter()
    for asked, job_id, outcome in evidence.enqueued:
        created[job_id] += outcome == "CREATED"
        if job_id not in jobs:
            yield f"job {job_id} was acknowledged for {asked} and is lost"
        elif jobs[job_id] != asked:
            yield f"job {job_id} was acknowledged for {asked}, and is for {jobs[job_id]}"
    yield from (f"job {job_id} was created {times} times" for job_id, times in created.items() if times > 1)
