"""Cancelling: a Pending or Processing job ends, and its worker loses the lease."""

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import asyncpg

from thumbq_server.domain.job import Token
from thumbq_server.storage.fragments import columns
from thumbq_server.storage.postgres.errors import Unavailable
from thumbq_server.storage.postgres.lane import Lane
from thumbq_server.storage.postgres.notify import CHANNEL, LOG

_CANCEL = """
    WITH unready AS (
        DELETE FROM ready WHERE job_id = ANY ($1::bigint[]) RETURNING job_id, attempt, lease_seq, NULL::bigint AS worker
    ), unleased AS (
        DELETE FROM leases WHERE job_id = ANY ($1::bigint[]) RETURNING job_id, attempt, lease_seq, worker
    ), ended AS MATERIALIZED ( -- else PostgreSQL cannot look at a job again that changed while its lock was waited for
        SELECT * FROM unready UNION ALL SELECT * FROM unleased
    ), recorded AS (
        UPDATE jobs j SET outcome = 'Cancelled', finished_at = now(), updated_at = now(), attempt_count = e.attempt,
               lease_seq = e.lease_seq
          FROM ended e WHERE j.id = e.job_id
        RETURNING j.id AS job_id, j.model_id, e.attempt, e.lease_seq, e.worker
    ), buried AS (
        INSERT INTO dead_letters (job_id, status) SELECT job_id, 'Cancelled' FROM recorded
        ON CONFLICT (job_id) DO UPDATE SET status = 'Cancelled', ended_at = now()
    )
    SELECT job_id, model_id, attempt, lease_seq, worker FROM recorded
"""

# The log tells what the models show, now that this is not asked for any more. That is looked up in a statement of its
# own, when the head is ours: a statement sees what was committed before it began, and nobody else announces anything
# until our commit. In one statement, a picture that came meanwhile would be announced, and then denied.
_MOVE_HEAD = f"UPDATE queue_head SET seq = seq + $1 RETURNING seq - $1 AS before, pg_notify('{CHANNEL}', '{LOG}')"

# It differs from model to model, so there is a row for each status, and their numbers follow each other.
_ANNOUNCE = """
    WITH news AS (
        SELECT coalesce(t.status, 'None') AS status, count(*) AS count,
               sum(count(*)) OVER (ORDER BY coalesce(t.status, 'None'))::bigint AS upto,
               array_agg(model_id) AS model_ids, array_agg(c.job_id) AS job_ids,
               array_agg(c.attempt) AS attempt_counts, array_agg(t.error_message) AS error_messages
          FROM unnest($2::bigint[], $3::bigint[], $4::smallint[]) AS c (model_id, job_id, attempt)
          LEFT JOIN thumbnails t USING (model_id) GROUP BY 1
    )
    INSERT INTO notifications (seq_last, seq_first, status, model_ids, job_ids, attempt_counts, error_messages)
    SELECT $1 + upto, $1 + upto - count + 1, status, model_ids, job_ids, attempt_counts, error_messages FROM news
"""

_STATES = """
    SELECT id AS job_id, status, attempt_count, request_no, lease_seq, priority, max_attempts
      FROM job_states WHERE id = ANY ($1::bigint[]) ORDER BY id
"""

_ROUNDS = 20

_LIVE = ("Pending", "Processing")


class Cancelled(NamedTuple):
    """A job that was cancelled, and the lease that a worker lost by it."""

    job_id: int
    worker: int | None
    lease: Token


async def cancel(lane: Lane, job_ids: Sequence[int]) -> list[Cancelled]:
    """End those of the jobs that are Pending or Processing; the others stay as they are."""
    cancelled: list[Cancelled] = []
    wanted = sorted(set(job_ids))
    for _ in range(_ROUNDS):
        rows = await lane.run(partial(_cancel, job_ids=wanted))
        cancelled += [Cancelled(row["job_id"], row["worker"], Token(row["job_id"], row["lease_seq"])) for row in rows]
        # a job that went from ready to leases under our hands was seen in neither; one that was started anew since it
        # was cancelled here stays so
        done = {job.job_id for job in cancelled}
        states = await lane.fetch(_STATES, [job_id for job_id in wanted if job_id not in done])
        wanted = [row["job_id"] for row in states if row["status"] in _LIVE]
        if not wanted:
            return cancelled
    raise Unavailable("jobs kept changing while they were cancelled")


async def _cancel(connection: asyncpg.Connection, job_ids: Sequence[int]) -> Sequence[asyncpg.Record]:
    async with connection.transaction():
        rows = await connection.fetch(_CANCEL, job_ids)
        if rows:
            before = await connection.fetchval(_MOVE_HEAD, len(rows))
            news = [(row["model_id"], row["job_id"], row["attempt"]) for row in rows]
            await connection.fetch(_ANNOUNCE, before, *columns(news, 3))
        return rows
