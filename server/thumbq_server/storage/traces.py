"""The traces of jobs: a row for each job whose producer named a span. Jobs without one have none, and cost nothing."""

from collections.abc import Sequence

from thumbq_server.domain.job import Failure, NewJob
from thumbq_server.domain.traces import Trace
from thumbq_server.storage.fragments import columns
from thumbq_server.storage.postgres.database import Database
from thumbq_server.storage.postgres.lane import Lane
from thumbq_server.storage.statements import Statement

EXIST = Statement("traces_exist", "", "SELECT EXISTS (SELECT FROM job_traces) AS exist")

# A job that was given back has waited before, and one that was started again waits since then. Each job is looked up by
# itself.
OF_JOBS = Statement(
    "traces_of_jobs",
    "job_ids bigint[]",
    """
    SELECT t.job_id, t.traceparent, t.earlier_attempt, j.waits_since
      FROM job_traces t
     CROSS JOIN LATERAL (
        SELECT CASE WHEN (SELECT max(lease_seq) FROM attempts WHERE job_id = t.job_id) > coalesce(since, 0) THEN NULL
                    ELSE coalesce(reset_at, created_at) END AS waits_since
          FROM jobs WHERE id = t.job_id OFFSET 0) j
     WHERE t.job_id = ANY ($1) AND t.traceparent <> ''
    """,
)

# A known job that starts again has the trace of the request that starts it, or none ('') when that has none. One that
# is live keeps its own.
RENEW = Statement(
    "traces_renew",
    "model_ids bigint[], model_hashes bytea[], traceparents text[]",
    """
    INSERT INTO job_traces (job_id, traceparent)
    SELECT DISTINCT ON (s.id) s.id, t.traceparent
      FROM unnest($1::bigint[], $2::bytea[], $3::text[]) AS t (model_id, model_hash, traceparent)
           JOIN jobs j USING (model_id, model_hash) JOIN job_states s ON s.id = j.id
     WHERE s.status IN ('Completed', 'Failed', 'Cancelled')
       AND (t.traceparent <> '' OR (SELECT traceparent FROM job_traces WHERE job_id = s.id) <> '')
     ORDER BY s.id, t.traceparent DESC
    ON CONFLICT (job_id) DO UPDATE SET traceparent = excluded.traceparent, earlier_attempt = NULL
    """,
)

NOTE_ATTEMPTS = Statement(
    "traces_note_attempts",
    "job_ids bigint[], traceparents text[]",
    """
    WITH named AS MATERIALIZED (
        SELECT t.job_id, i.traceparent
          FROM job_traces t JOIN unnest($1::bigint[], $2::text[]) AS i (job_id, traceparent) USING (job_id)
         ORDER BY t.job_id FOR UPDATE OF t
    )
    UPDATE job_traces t SET earlier_attempt = n.traceparent FROM named n WHERE t.job_id = n.job_id
    """,
)


async def renew(lane: Lane, jobs: Sequence[NewJob]) -> None:
    """Give jobs that are known and have ended the traces of the requests that may start them again."""
    if jobs:
        await lane.fetch(RENEW, *columns([(job.model_id, job.model_hash, job.traceparent or "") for job in jobs], 3))


async def note_attempts(lane: Lane, failures: Sequence[Failure]) -> None:
    """Keep the spans of failed attempts, for the next ones to link to."""
    if traced := [(failure.job_id, failure.traceparent) for failure in failures if failure.traceparent]:
        await lane.fetch(NOTE_ATTEMPTS, *columns(traced, 2))


async def exist(database: Database) -> bool:
    """Return whether any job is traced."""
    answer: bool = (await database.fetch(EXIST))[0]["exist"]
    return answer


async def of_jobs(lane: Lane, job_ids: Sequence[int]) -> dict[int, Trace]:
    """Return the trace of each of these jobs that has one."""
    rows = await lane.fetch(OF_JOBS, job_ids)
    return {job_id: Trace(*trace) for job_id, *trace in rows}
