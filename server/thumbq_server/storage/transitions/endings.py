"""Ends of attempts that other jobs of the same model may contest.

The newest request of a model decides what it shows. So the end of one of several jobs is decided while no other
transaction can announce anything: the leases of all jobs of the model are locked first, then the jobs, then the head of
the log. The statement that ends the attempts begins after that, and sees everything that was committed before. It
touches only leases that were locked at first: whoever holds another one may wait for the head
(docs/decisions/0019-one-order-of-locks.md).
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeVar

import asyncpg

from thumbq_server.storage.fragments import announce, count_apart, put_in_queue
from thumbq_server.storage.postgres.hints import JOBS
from thumbq_server.storage.postgres.lane import Lane, Run
from thumbq_server.storage.statements import Statement
from thumbq_server.storage.transitions.held import GROUPS, NAMED, PARAMETERS, Report, named

# Other leases of the models are marked: an end that began earlier, and has not come to its lease yet, must not pass.
# That holds for a job of which a report names a former lease, too. A lease has moved when it was ended, or put back,
# while its lock was waited for.
LOCK_MODELS = Statement(
    "end_lock_models",
    PARAMETERS,
    f"""
    WITH held AS MATERIALIZED (
        SELECT l.job_id, l.model_id FROM leases l, {GROUPS} WHERE {NAMED}
    ), locked AS MATERIALIZED (
        SELECT l.job_id FROM leases l
         WHERE l.job_id = ANY (ARRAY (
            SELECT id FROM jobs WHERE model_id = ANY (ARRAY (SELECT model_id FROM held))))
         ORDER BY l.lease_seq, l.job_id FOR UPDATE
    ), marked AS (
        UPDATE leases l SET contested = true
         WHERE l.job_id = ANY (ARRAY (SELECT job_id FROM locked))
           AND NOT l.job_id = ANY (ARRAY (SELECT job_id FROM held)) AND NOT l.contested
    )
    SELECT (SELECT array_agg(job_id) FROM locked) AS job_ids,
           EXISTS (SELECT FROM held WHERE job_id NOT IN (SELECT job_id FROM locked)) AS moved
    """,
)

# A new request for one of these jobs comes before the end, or after it.
LOCK_JOBS = Statement(
    "end_lock_jobs", "job_ids bigint[]", "SELECT FROM jobs WHERE id = ANY ($1) ORDER BY id FOR UPDATE"
)

LOCK_HEAD = Statement("end_lock_head", "", "SELECT FROM queue_head FOR UPDATE")

_AGAIN = put_in_queue(
    "ended",
    "next_run_at",
    attempt="CASE WHEN rerun_request_no IS NULL THEN attempt ELSE 0 END",
    where="WHERE will_retry",
)

R = TypeVar("R", bound=Report)


def end_attempts(outcome: str, gone: str, ended: str, *, counted_as: str | None = None) -> str:
    """Return the statement that ends attempts, when everything is locked.

    `gone` deletes the leases. `ended` has what it returns, with the job's request_no, priority, max_attempts,
    created_at, model_hash, kind and options, with path, size_bytes, width, height and error_message, and with
    will_retry and next_run_at. A lease that an enqueue has marked (rerun_request_no) makes its job start again, under
    that number. All ends are counted under the name `counted_as`; without one, the log counts those that it tells.
    """
    failed = outcome == "Failed"
    moves = {outcome.lower(): "SELECT count(*) FROM ended WHERE NOT will_retry"}
    return f"""
    WITH gone AS (
        {gone}
    ), ended AS MATERIALIZED (
        {ended}
    ), newest AS (
        SELECT DISTINCT ON (model_id) * FROM ended ORDER BY model_id, request_no DESC
    ), before AS MATERIALIZED (
        SELECT DISTINCT ON (j.model_id) j.model_id, coalesce(a.request_no, j.request_no) AS request_no
          FROM jobs j JOIN attempts a ON a.job_id = j.id
         WHERE j.model_id = ANY (ARRAY (SELECT model_id FROM newest)) AND a.end_no IS NOT NULL
         ORDER BY j.model_id, a.end_no DESC
    ), shown AS MATERIALIZED (
        SELECT n.*, CASE WHEN will_retry THEN next_run_at END AS next_attempt_at
          FROM newest n LEFT JOIN before b USING (model_id)
         WHERE b.request_no IS NULL OR b.request_no <= n.request_no
    ), number AS MATERIALIZED (
        SELECT nextval('end_seq') AS end_no
    ), recorded AS (
        INSERT INTO attempts (job_id, lease_seq, end_no, attempt, outcome, session, claimed_at, path, size_bytes, width,
                              height, error_message, next_attempt_at, request_no, dead)
        SELECT job_id, lease_seq,
               CASE WHEN job_id IN (SELECT job_id FROM shown) THEN (SELECT end_no FROM number) END,
               attempt, '{outcome}', session, claimed_at, path, size_bytes, width, height, error_message,
               CASE WHEN will_retry THEN next_run_at END, CASE WHEN rerun_request_no IS NOT NULL THEN request_no END,
               {"CASE WHEN NOT will_retry THEN true END" if failed else "NULL::boolean"}
          FROM ended
    ), frozen AS (
        UPDATE attempts a SET request_no = e.request_no
          FROM ended e WHERE e.rerun_request_no IS NOT NULL AND a.job_id = e.job_id AND a.request_no IS NULL
    ), renumbered AS (
        UPDATE jobs j SET request_no = greatest(j.request_no, e.rerun_request_no), kind = e.kind, options = e.options
          FROM ended e WHERE e.rerun_request_no IS NOT NULL AND j.id = e.job_id
    ), again AS ({_AGAIN}
    ), counted AS ({_count(outcome, counted_as)}
    ), {announce("Failed" if failed else "Ready", "shown", moves=moves, counted_apart=counted_as is not None)}
    SELECT job_id, named_seq, model_id, session,
           CASE WHEN will_retry THEN extract(epoch FROM next_run_at - now())::float8 END AS due_in
      FROM ended
    """


def _count(outcome: str, counted_as: str | None) -> str:
    untold = "" if counted_as else "WHERE job_id NOT IN (SELECT job_id FROM shown)"
    return count_apart(counted_as or outcome, "ended", where=untold)


async def end_under_lock(
    lane: Lane, statement: Statement, reports: Sequence[R], parameters: Callable[[Sequence[R]], Sequence[Any]]
) -> Sequence[asyncpg.Record]:
    """Return the rows of `statement`, run when all that it depends on is locked; none when no lease is there.

    `reports` are in order, and name leases by their numbers. Those whose lease is gone are left out.
    """
    if not reports:
        return []
    work = partial(_end_under_lock, reports=reports, parameters=parameters)
    rows = await lane.run_parsed(work, LOCK_MODELS, LOCK_JOBS, LOCK_HEAD, statement)
    if rows:
        lane.hints.tell(JOBS)
    return rows


async def _end_under_lock(
    connection: asyncpg.Connection,
    lock_models: Run,
    lock_jobs: Run,
    lock_head: Run,
    end: Run,
    *,
    reports: Sequence[R],
    parameters: Callable[[Sequence[R]], Sequence[Any]],
) -> Sequence[asyncpg.Record]:
    # A lease is put back once at most, so this comes to an end.
    while True:
        async with connection.transaction():
            (locked,) = await lock_models(*named(reports))
            if not locked["moved"]:
                job_ids = frozenset(locked["job_ids"] or ())
                held = [report for report in reports if report.job_id in job_ids]
                if not held:
                    return []
                await lock_jobs([report.job_id for report in held])
                await lock_head()
                return await end(*parameters(held))
