"""The end of an attempt without a picture: the worker reports it, or its lease ran out.

Both end under the lock of their models (see `endings`): a failure that is announced although a newer picture is shown
would mislead, and failures are rare.
"""

from collections.abc import Sequence

import asyncpg

from thumbq_server.domain.ends import Ends
from thumbq_server.domain.job import Failure, JobStatus, Token, Verdict
from thumbq_server.domain.records import Expired, FailureReported
from thumbq_server.storage.fragments import KIND_AND_OPTIONS, columns
from thumbq_server.storage.postgres.lane import Lane
from thumbq_server.storage.statements import Statement
from thumbq_server.storage.transitions.endings import end_attempts, end_under_lock
from thumbq_server.storage.transitions.held import GROUPS, NAMED, PARAMETERS, in_order, named, with_numbers
from thumbq_server.storage.transitions.verdicts import states_of, verdict_on

# A marked lease starts again at once; a job with attempts left after its back-off; the others are dead.
_ENDED = """
        SELECT g.*, j.request_no, j.priority, j.max_attempts, j.created_at, j.model_hash,
               {kind_and_options}, NULL::text AS path, NULL::bigint AS size_bytes,
               NULL::int AS width, NULL::int AS height, {error_message} AS error_message,
               g.rerun_request_no IS NOT NULL OR ({retryable} AND g.attempt < j.max_attempts) AS will_retry,
               now() + CASE WHEN g.rerun_request_no IS NULL THEN {backoff} ELSE '0' END AS next_run_at
          FROM gone g JOIN jobs j ON j.id = g.job_id {join}
"""

FAIL = Statement(
    "fail",
    f"{PARAMETERS}, lease_seqs bigint[], error_messages text[], retryable boolean[], retry_delays double precision[],"
    " jitters double precision[], backoffs double precision[]",
    end_attempts(
        "Failed",
        f"DELETE FROM leases l USING {GROUPS} WHERE {NAMED} RETURNING l.*, g.lease_seq AS named_seq",
        _ENDED.format(
            kind_and_options=KIND_AND_OPTIONS,
            error_message="i.error_message",
            retryable="i.retryable",
            backoff="make_interval(secs => coalesce(i.retry_delay, ($10::float8[])[g.attempt] * i.jitter))",
            join="""
          JOIN unnest($1::bigint[], $5::bigint[], $6::text[], $7::bool[], $8::float8[], $9::float8[])
            AS i (job_id, lease_seq, error_message, retryable, retry_delay, jitter)
            ON i.job_id = g.job_id AND i.lease_seq = g.named_seq""",
        ),
    ),
)

# Leases that others hold at the moment are left for the next time. The locks end with this statement: the leases of
# their models are locked afterwards, all in one order.
OVERDUE = Statement(
    "expire_find",
    "limit bigint",
    """
    SELECT job_id, lease_seq FROM leases WHERE expires_at <= now()
     ORDER BY lease_seq, job_id LIMIT $1 FOR UPDATE SKIP LOCKED
    """,
)

EXPIRE = Statement(
    "expire",
    f"{PARAMETERS}, backoffs double precision[], jitter double precision",
    end_attempts(
        "Failed",
        f"""DELETE FROM leases l USING {GROUPS} WHERE {NAMED} AND l.expires_at <= now()
        RETURNING l.*, g.lease_seq AS named_seq""",
        _ENDED.format(
            kind_and_options=KIND_AND_OPTIONS,
            error_message="'Lease expired: worker ' || coalesce(w.worker_id, '?') || ' stopped responding'",
            retryable="true",
            backoff="make_interval(secs => ($5::float8[])[g.attempt] * $6)",
            join="LEFT JOIN workers w ON w.id = g.session",
        ),
        counted_as="Expired",
    ),
)


async def fail(
    lane: Lane,
    items: Sequence[Failure],
    backoffs: Sequence[float],
    jitters: Sequence[float],
    ends: Ends | None = None,
) -> list[FailureReported]:
    """End attempts without a picture, and count them in `ends`. The answers are in the order of `items`.

    `backoffs` are the seconds after each attempt (`domain.retry.delays`), `jitters` has a factor for each item.
    """
    numbered = await with_numbers(lane, items)
    factors = dict(zip(((item.lease_seq, item.job_id) for item in numbered), jitters, strict=True))

    def parameters(failures: Sequence[Failure]) -> list[Sequence[object]]:
        _, lease_seqs, *report, _ = columns(failures, 6)
        return [
            *named(failures),
            lease_seqs,
            *report,
            [factors[item.lease_seq, item.job_id] for item in failures],
            backoffs,
        ]

    rows = await end_under_lock(lane, FAIL, in_order(numbered), parameters)
    _count(rows, ends)
    ended = {(row["job_id"], row["named_seq"]): row for row in rows}
    done = [ended.pop((item.job_id, item.lease_seq), None) for item in numbered]
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


async def expire(
    lane: Lane, limit: int, backoffs: Sequence[float], jitter: float, ends: Ends | None = None
) -> list[Expired]:
    """End up to `limit` attempts whose lease ran out, and count them in `ends`."""
    overdue = [Token(*row) for row in await lane.fetch(OVERDUE, limit)]
    rows = await end_under_lock(lane, EXPIRE, overdue, lambda tokens: [*named(tokens), backoffs, jitter])
    _count(rows, ends)
    return [Expired(row["job_id"], row["named_seq"], row["due_in"]) for row in rows]


def _count(rows: Sequence[asyncpg.Record], ends: Ends | None) -> None:
    if ends:
        ends.failed.update(row["session"] for row in rows)
