"""Forgetting a model: its jobs, their history and its pictures go in one commit, which the log tells."""

from functools import partial

import asyncpg

from thumbq_server.domain.job import ForgottenModel, JobStatus, Token
from thumbq_server.storage.postgres.errors import Unavailable
from thumbq_server.storage.postgres.hints import LOG
from thumbq_server.storage.postgres.lane import Lane, Run
from thumbq_server.storage.statements import Statement
from thumbq_server.storage.transitions.cancel import LOCK_LEASES, LOCK_READY, PLACED
from thumbq_server.storage.transitions.endings import LOCK_HEAD, LOCK_JOBS

FIND = Statement("forget_find", "model_id bigint", "SELECT id, status FROM job_states WHERE model_id = $1 ORDER BY id")

# Everything is locked, and nothing has moved since. The pictures that were reported go on the list of removals.
FORGET = Statement(
    "forget",
    "job_ids bigint[], model_id bigint",
    f"""
    WITH gone AS MATERIALIZED (
        SELECT s.id, s.status, s.lease_seq, l.session
          FROM job_states s LEFT JOIN LATERAL (SELECT session FROM leases WHERE job_id = s.id OFFSET 0) l ON true
         WHERE s.id = ANY ($1)
    ), unready AS (
        DELETE FROM ready WHERE ctid = ANY (ARRAY ({PLACED.format(how="")}))
    ), unleased AS (
        DELETE FROM leases WHERE job_id = ANY ($1)
    ), without_events AS (
        DELETE FROM job_events WHERE job_id = ANY ($1)
    ), without_traces AS (
        DELETE FROM job_traces WHERE job_id = ANY ($1)
    ), without_versions AS (
        DELETE FROM model_versions WHERE model_id = $2
    ), pictures AS (
        DELETE FROM attempts WHERE job_id = ANY ($1) RETURNING path, ended_at
    ), listed AS (
        INSERT INTO removals (path, reported_at)
        SELECT path, max(ended_at) FROM pictures WHERE path <> '' GROUP BY path
        RETURNING path
    ), without_jobs AS (
        DELETE FROM jobs WHERE id = ANY ($1)
    ), head AS (
        UPDATE queue_head h
           SET seq = h.seq + 1, jobs = h.jobs - c.count, completed = h.completed - c.completed,
               failed = h.failed - c.failed, cancelled = h.cancelled - c.cancelled
          FROM (SELECT count(*) AS count, count(*) FILTER (WHERE status = 'Completed') AS completed,
                       count(*) FILTER (WHERE status = 'Failed') AS failed,
                       count(*) FILTER (WHERE status = 'Cancelled') AS cancelled FROM gone) c
        RETURNING h.seq
    ), logged AS (
        INSERT INTO notifications (seq_last, seq_first, status, model_ids, job_ids, attempt_counts)
        SELECT seq, seq, 'None', ARRAY[$2], ARRAY[(SELECT max(id) FROM gone)], ARRAY[0::smallint] FROM head
    )
    SELECT id, session, lease_seq, (SELECT count(*) FROM listed) AS pictures FROM gone ORDER BY id
    """,
)

_ROUNDS = 20
# In the order of the parameters of _forget.
STATEMENTS = FIND, LOCK_READY, LOCK_LEASES, LOCK_JOBS, LOCK_HEAD, FORGET


async def forget(lane: Lane, model_id: int) -> ForgottenModel:
    """Delete all that is known of a model. A model without jobs is forgotten already."""
    for _ in range(_ROUNDS):
        forgotten = await lane.run_parsed(partial(_forget, model_id=model_id), *STATEMENTS)
        if forgotten is not None:
            if forgotten.job_ids:
                lane.hints.tell(LOG)
            return forgotten
    raise Unavailable("the model's jobs kept changing while it was forgotten")


async def _forget(
    connection: asyncpg.Connection,
    find: Run,
    lock_ready: Run,
    lock_leases: Run,
    lock_jobs: Run,
    lock_head: Run,
    delete: Run,
    *,
    model_id: int,
) -> ForgottenModel | None:
    """Return what was forgotten; None when a job moved before everything was locked."""

    async def statuses() -> dict[int, str]:
        return {row["id"]: row["status"] for row in await find(model_id)}

    async with connection.transaction():
        found = await statuses()
        if not found:
            return ForgottenModel([], [], 0)
        job_ids = list(found)
        pending = [job_id for job_id, status in found.items() if status == JobStatus.PENDING]
        ready = await lock_ready(pending)
        leases = await lock_leases(job_ids)
        await lock_jobs(job_ids)
        await lock_head()
        # What was announced before is seen from here on, and what comes later waits for the head.
        is_whole = len(ready) == len(pending) and len(leases) == list(found.values()).count(JobStatus.PROCESSING)
        if not is_whole or await statuses() != found:
            return None
        rows = await delete(job_ids, model_id)
    held = [(row["session"], Token(row["id"], row["lease_seq"])) for row in rows if row["session"] is not None]
    return ForgottenModel(job_ids, held, rows[0]["pictures"])
