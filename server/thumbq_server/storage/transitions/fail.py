"""The end of an attempt without a picture: the worker reports it, or its lease ran out. One guarded statement."""

from collections.abc import Sequence

from thumbq_server.domain.job import Failure, JobStatus, Token, Verdict
from thumbq_server.domain.records import Expired, FailureReported
from thumbq_server.storage.fragments import MINE, WAKE_JOBS, announce, columns, rank
from thumbq_server.storage.postgres.lane import Lane
from thumbq_server.storage.statements import Statement
from thumbq_server.storage.transitions.verdicts import states_of, verdict_on


def _end_without_picture(input_steps: str) -> str:
    """Return the statement that ends attempts without a picture.

    `input_steps` end with step `ended`: the deleted leases, with error_message, retryable and backoff (an interval).
    A job with attempts left is due again after its back-off; the others are dead. A marked lease starts again at once.
    Jobs are locked before thumbnails, as everywhere, so no enqueue can move their request_no any more.
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
    SELECT job_id, named_seq, model_id,
           CASE WHEN will_retry THEN extract(epoch FROM next_run_at - now())::float8 END AS due_in
      FROM decided
    """


FAIL = Statement(
    "fail",
    "job_ids bigint[], lease_seqs integer[], error_messages text[], retryable boolean[],"
    " retry_delays double precision[], backoffs double precision[], jitters double precision[]",
    _end_without_picture(f"""
    WITH input AS (
        SELECT * FROM unnest($1::bigint[], $2::int[], $3::text[], $4::bool[], $5::float8[], $7::float8[])
            AS i (job_id, lease_seq, error_message, retryable, retry_delay, jitter)
    ), ended AS (
        DELETE FROM leases l USING input i WHERE {MINE}
        RETURNING l.*, i.lease_seq AS named_seq, i.error_message, i.retryable,
                  make_interval(secs => coalesce(i.retry_delay, ($6::float8[])[l.attempt] * i.jitter)) AS backoff
    )"""),
)

EXPIRE = Statement(
    "expire",
    "limit bigint, backoffs double precision[], jitter double precision",
    _end_without_picture("""
    WITH overdue AS (
        SELECT job_id FROM leases WHERE expires_at <= now() ORDER BY job_id LIMIT $1 FOR UPDATE SKIP LOCKED
    ), ended AS (
        DELETE FROM leases l USING overdue o WHERE l.job_id = o.job_id
        RETURNING l.*, l.lease_seq AS named_seq,
                  'Lease expired: worker ' || coalesce((SELECT w.worker_id FROM workers w WHERE w.id = l.worker), '?')
                  || ' stopped responding' AS error_message,
                  true AS retryable, make_interval(secs => ($2::float8[])[l.attempt] * $3) AS backoff
    )"""),
)


async def fail(
    lane: Lane, items: Sequence[Failure], backoffs: Sequence[float], jitters: Sequence[float]
) -> list[FailureReported]:
    """End attempts without a picture. The answers are in the order of `items`.

    `backoffs` are the seconds after each attempt (`domain.retry.delays`), `jitters` has a factor for each item.
    """
    by_job = sorted(zip(items, jitters, strict=True), key=lambda pair: pair[0].job_id)  # as in complete
    *failures, factors = columns([(*item, jitter) for item, jitter in by_job], 6)
    rows = await lane.fetch(FAIL, *failures, backoffs, factors)
    ended = {(row["job_id"], row["named_seq"]): row for row in rows}
    done = [ended.pop((item.job_id, item.lease_seq), None) for item in items]
    unclear = [item.job_id for item, row in zip(items, done, strict=True) if row is None]
    states = await states_of(lane, unclear) if unclear else {}
    answers: list[FailureReported] = []
    for item, row in zip(items, done, strict=True):
        if row is None:
            state = states.get(item.job_id)
            verdict = verdict_on(Token(item.job_id, item.lease_seq), state, done=JobStatus.FAILED)
            answers.append(FailureReported(verdict, state.model_id if state else 0, None))
        else:
            answers.append(FailureReported(Verdict.OK, row["model_id"], row["due_in"]))
    return answers


async def expire(lane: Lane, limit: int, backoffs: Sequence[float], jitter: float) -> list[Expired]:
    """End up to `limit` attempts whose lease ran out."""
    return [
        Expired(row["job_id"], row["named_seq"], row["due_in"])
        for row in await lane.fetch(EXPIRE, limit, backoffs, jitter)
    ]
