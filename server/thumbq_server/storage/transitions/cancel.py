"""Cancelling: a Pending or Processing job ends, and its worker loses the lease."""

from collections.abc import Mapping, Sequence
from functools import partial

import asyncpg

from thumbq_server.domain.job import LIVE, Cancellation, CancelVerdict, JobStatus, Token
from thumbq_server.storage.fragments import columns, count_apart
from thumbq_server.storage.postgres.errors import Unavailable
from thumbq_server.storage.postgres.hints import LOG
from thumbq_server.storage.postgres.lane import Lane, Run
from thumbq_server.storage.statements import Statement
from thumbq_server.storage.transitions.verdicts import State, states_of

# Where the jobs stand now. A job that has moved meanwhile is skipped here, and looked at again.
PLACED = """SELECT r.ctid
              FROM unnest($1::bigint[]) AS i (job_id)
             CROSS JOIN LATERAL (SELECT rank FROM places WHERE job_id = i.job_id OFFSET 0) p
             CROSS JOIN LATERAL (
                SELECT ctid FROM ready WHERE rank = p.rank AND job_id = i.job_id FOR UPDATE {how} OFFSET 0) r"""

LOCK_READY = Statement("cancel_lock_ready", "job_ids bigint[]", PLACED.format(how=""))

LOCK_LEASES = Statement(
    "cancel_lock_leases",
    "job_ids bigint[]",
    "SELECT FROM leases WHERE job_id = ANY ($1) ORDER BY lease_seq, job_id FOR UPDATE",
)

# A job that waits has no lease, so its end takes a number of its own. The last error stays with the job.
CANCEL = Statement(
    "cancel",
    "job_ids bigint[]",
    f"""
    WITH unready AS (
        DELETE FROM ready WHERE ctid = ANY (ARRAY ({PLACED.format(how="SKIP LOCKED")}))
        RETURNING job_id, model_id, attempt, NULL::bigint AS lease_seq, NULL::bigint AS session,
                  NULL::timestamptz AS claimed_at
    ), unleased AS (
        DELETE FROM leases WHERE job_id = ANY (ARRAY (
            SELECT job_id FROM leases WHERE job_id = ANY ($1) FOR UPDATE SKIP LOCKED))
        RETURNING job_id, model_id, attempt, lease_seq, session, claimed_at
    ), ended AS MATERIALIZED ( -- else PostgreSQL cannot look at a job again that changed while its lock was waited for
        SELECT * FROM unready UNION ALL SELECT * FROM unleased
    ), recorded AS (
        INSERT INTO attempts (job_id, lease_seq, attempt, outcome, session, claimed_at, error_message, dead)
        SELECT e.job_id, coalesce(e.lease_seq, nextval('claim_seq')), e.attempt, 'Cancelled', e.session, e.claimed_at,
               s.error_message, true
          FROM ended e CROSS JOIN LATERAL (SELECT error_message FROM job_states WHERE id = e.job_id OFFSET 0) s
    ), counted AS ({count_apart("Cancelled", "ended")}
    )
    SELECT e.job_id, e.model_id, e.attempt, e.session, coalesce(e.lease_seq, s.lease_seq) AS lease_seq
      FROM ended e CROSS JOIN LATERAL (SELECT lease_seq FROM job_states WHERE id = e.job_id OFFSET 0) s
    """,
)

# Take the head lock first, read thumbnails second: otherwise a picture committed in between would be announced, and
# then contradicted by our older snapshot.
MOVE_HEAD = Statement(
    "cancel_move_head",
    "count bigint",
    "UPDATE queue_head SET seq = seq + $1, cancelled = cancelled + $1 RETURNING seq - $1 AS before",
)

# The log tells what the models show now. There is a row for each status, and their numbers follow each other.
ANNOUNCE = Statement(
    "cancel_announce",
    "seq_before bigint, model_ids bigint[], job_ids bigint[], attempts smallint[]",
    """
    WITH news AS (
        SELECT coalesce(t.status, 'None') AS status, count(*) AS count,
               sum(count(*)) OVER (ORDER BY coalesce(t.status, 'None'))::bigint AS upto,
               array_agg(model_id) AS model_ids, array_agg(c.job_id) AS job_ids,
               array_agg(c.attempt) AS attempt_counts, array_agg(t.error_message) AS error_messages
          FROM unnest($2::bigint[], $3::bigint[], $4::smallint[]) AS c (model_id, job_id, attempt)
          LEFT JOIN LATERAL (
            SELECT status, error_message FROM thumbnails WHERE model_id = c.model_id OFFSET 0) t ON true
         GROUP BY 1
    )
    INSERT INTO notifications (seq_last, seq_first, status, model_ids, job_ids, attempt_counts, error_messages,
                               counted_apart)
    SELECT $1 + upto, $1 + upto - count + 1, status, model_ids, job_ids, attempt_counts, error_messages, true FROM news
    """,
)

_ROUNDS = 20


async def cancel(lane: Lane, job_ids: Sequence[int]) -> list[Cancellation]:
    """End those of the jobs that are Pending or Processing; the others stay as they are. The answers are in order."""
    cancelled: dict[int, Cancellation] = {}
    wanted = sorted(set(job_ids))
    others: dict[int, State] = {}
    for _ in range(_ROUNDS):
        rows = await lane.run_parsed(
            partial(_cancel, job_ids=wanted), LOCK_READY, LOCK_LEASES, CANCEL, MOVE_HEAD, ANNOUNCE
        )
        if rows:
            lane.hints.tell(LOG)
        for row in rows:
            lease = Token(row["job_id"], row["lease_seq"])
            cancelled[lease.job_id] = Cancellation(lease.job_id, CancelVerdict.CANCELLED, row["session"], lease)
        # Look again for jobs that moved from ready to leases meanwhile: the statement saw them in neither. A job that
        # was cancelled here, and started again since, stays live.
        others |= await states_of(lane, [job_id for job_id in wanted if job_id not in cancelled])
        wanted = sorted(
            state.job_id for state in others.values() if state.status in LIVE and state.job_id not in cancelled
        )
        if not wanted:
            return [cancelled.get(job_id) or _not_cancelled(job_id, others) for job_id in job_ids]
    raise Unavailable("jobs kept changing while they were cancelled")


def _not_cancelled(job_id: int, states: Mapping[int, State]) -> Cancellation:
    state = states.get(job_id)
    if state is None:
        return Cancellation(job_id, CancelVerdict.NOT_FOUND)
    if state.status is JobStatus.CANCELLED:
        return Cancellation(job_id, CancelVerdict.ALREADY_CANCELLED)
    return Cancellation(job_id, CancelVerdict.ALREADY_ENDED)


async def _cancel(
    connection: asyncpg.Connection,
    lock_ready: Run,
    lock_leases: Run,
    end: Run,
    move_head: Run,
    tell: Run,
    *,
    job_ids: Sequence[int],
) -> Sequence[asyncpg.Record]:
    async with connection.transaction():
        await lock_ready(job_ids)
        await lock_leases(job_ids)
        rows = await end(job_ids)
        if rows:
            ((before,),) = await move_head(len(rows))
            announced = [(row["model_id"], row["job_id"], row["attempt"]) for row in rows]
            await tell(before, *columns(announced, 3))
        return rows
