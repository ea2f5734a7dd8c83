"""The end of an attempt without a picture: the worker says so, or its lease ran out. One guarded statement."""

from collections.abc import Sequence

import asyncpg

from thumbq_server.domain.job import Failure, Token, Verdict
from thumbq_server.storage.fragments import MINE, WAKE_JOBS, announce, columns, rank
from thumbq_server.storage.postgres.lane import Lane
from thumbq_server.storage.transitions.verdicts import states_of, verdict_on


def _fail(input_steps: str) -> str:
    """The statement that ends attempts without a picture.

    `input_steps` end with step `ended`: the deleted leases, with error_message, retryable and backoff (an interval).
    What has attempts left is due again after its back-off; the rest is dead. A marked lease starts anew at once. Jobs
    are locked before thumbnails, as everywhere, and so read with a request_no that no enqueue can move any more.
    """
    return f"""
    {input_steps}, decided AS (
        SELECT e.*, j.model_id, j.priority, j.request_no, j.created_at,
               e.rerun_request_no IS NOT NULL AS rerun,
               e.rerun_request_no IS NOT NULL OR (e.retryable AND e.attempt < j.max_attempts) AS will_retry,
               now() + CASE WHEN e.rerun_request_no IS NULL THEN e.backoff ELSE '0' END AS next_run_at
          FROM ended e JOIN jobs j ON j.id = e.job_id FOR UPDATE OF j
    ), recorded AS (
        UPDATE jobs j SET outcome = CASE WHEN d.will_retry THEN NULL ELSE 'Failed' END,
               finished_at = CASE WHEN d.will_retry THEN NULL ELSE now() END,
               attempt_count = CASE WHEN d.rerun THEN 0 ELSE d.attempt END,
               request_no = greatest(j.request_no, d.rerun_request_no),
               lease_seq = d.lease_seq, error_message = d.error_message, updated_at = now()
          FROM decided d WHERE j.id = d.job_id
    ), again AS (
        INSERT INTO ready (job_id, rank, run_at, attempt, lease_seq)
        SELECT job_id, {rank("next_run_at", "priority")}, next_run_at, CASE WHEN rerun THEN 0 ELSE attempt END,
               lease_seq
          FROM decided WHERE will_retry
    ), buried AS (
        INSERT INTO dead_letters (job_id, status) SELECT job_id, 'Failed' FROM decided WHERE NOT will_retry
        ON CONFLICT (job_id) DO UPDATE SET status = 'Failed', ended_at = now()
    ), shown AS (
        INSERT INTO thumbnails AS t (model_id, job_id, request_no, attempt, status, error_message, next_attempt_at,
                                     created_at)
        SELECT DISTINCT ON (model_id) model_id, job_id, request_no, attempt, 'Failed', error_message,
               CASE WHEN will_retry THEN next_run_at END, created_at
          FROM decided ORDER BY model_id, request_no DESC
        ON CONFLICT (model_id) DO UPDATE SET job_id = excluded.job_id, request_no = excluded.request_no,
               attempt = excluded.attempt, status = 'Failed', error_message = excluded.error_message,
               next_attempt_at = excluded.next_attempt_at, processed_at = now()
         WHERE t.request_no <= excluded.request_no
        RETURNING model_id, job_id, attempt, error_message, next_attempt_at
    ), {announce("Failed", "shown", wake=WAKE_JOBS)}
    SELECT job_id, given, model_id, extract(epoch FROM next_run_at - now())::float8 AS due_in, will_retry FROM decided
    """


# $6: the back-off after each attempt, in seconds; $7: jitter.
_FAIL = _fail(f"""
    WITH input AS (
        SELECT * FROM unnest($1::bigint[], $2::int[], $3::text[], $4::bool[], $5::float8[], $7::float8[])
            AS i (job_id, lease_seq, error_message, retryable, retry_delay, jitter)
    ), ended AS (
        DELETE FROM leases l USING input i WHERE {MINE}
        RETURNING l.*, i.lease_seq AS given, i.error_message, i.retryable,
                  make_interval(secs => coalesce(i.retry_delay, ($6::float8[])[l.attempt] * i.jitter)) AS backoff
    )""")


async def fail(
    lane: Lane, items: Sequence[Failure], delays: Sequence[float], jitters: Sequence[float]
) -> list[tuple[Verdict, int, float | None]]:
    """End attempts without a picture. For each item the verdict, the model id, and the seconds until it is due again.

    `delays` is the back-off after each attempt (`domain.retry.delays`), `jitters` a factor for each item.
    """
    by_job = sorted(zip(items, jitters, strict=True), key=lambda pair: pair[0].job_id)  # as in complete
    *failures, factors = columns([(*item, jitter) for item, jitter in by_job], 6)
    rows = await lane.fetch(_FAIL, *failures, delays, factors)
    ended = {(row["job_id"], row["given"]): row for row in rows}
    done = [ended.pop((item.job_id, item.lease_seq), None) for item in items]
    unclear = [item for item, row in zip(items, done, strict=True) if row is None]
    states = await states_of(lane, unclear) if unclear else {}
    verdicts: list[tuple[Verdict, int, float | None]] = []
    for item, row in zip(items, done, strict=True):
        if row is None:
            token = Token(item.job_id, item.lease_seq)
            verdicts.append((*verdict_on(token, states.get(item.job_id), done="Failed"), None))
        else:
            verdicts.append((Verdict.OK, row["model_id"], row["due_in"] if row["will_retry"] else None))
    return verdicts


# $1: how many at most; $2, $3: back-off and jitter as above.
_EXPIRE = _fail("""
    WITH overdue AS (
        SELECT job_id FROM leases WHERE expires_at <= now() ORDER BY job_id LIMIT $1 FOR UPDATE SKIP LOCKED
    ), ended AS (
        DELETE FROM leases l USING overdue o WHERE l.job_id = o.job_id
        RETURNING l.*, l.lease_seq AS given,
                  'Lease expired: worker ' || coalesce((SELECT w.worker_id FROM workers w WHERE w.id = l.worker), '?')
                  || ' stopped responding' AS error_message,
                  true AS retryable, make_interval(secs => ($2::float8[])[l.attempt] * $3) AS backoff
    )""")


async def expire(lane: Lane, limit: int, delays: Sequence[float], jitter: float) -> list[asyncpg.Record]:
    """End up to `limit` attempts whose lease ran out. Rows: job_id, given (lease_seq), will_retry, due_in (seconds)."""
    return await lane.fetch(_EXPIRE, limit, delays, jitter)
