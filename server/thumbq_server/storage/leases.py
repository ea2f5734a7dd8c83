"""The transitions of a job that is, or becomes, Processing. Each is one guarded statement.

Whoever ends an attempt deletes the lease row where job_id *and* lease_seq are its own, and only what that returns goes
on. No row is a named verdict, never an error.
"""

from collections.abc import Container, Sequence
from datetime import datetime, timedelta
from itertools import repeat
from typing import Any, NamedTuple

import asyncpg

from thumbq_server.domain.job import ClaimedJob, Completion, Failure, LostReason, Token, Verdict
from thumbq_server.storage.database import Database, Lane, columns
from thumbq_server.storage.sql import announce, rank

# `= ANY (ARRAY (... FOR UPDATE SKIP LOCKED))` and not `USING cte`: the latter was 40 % slower on a backlog
# (docs/decisions/0003-lanes.md).
_CLAIM = """
    WITH due AS (
        DELETE FROM ready WHERE job_id = ANY (ARRAY (
            SELECT job_id FROM ready WHERE rank <= now() AND run_at <= now()
             ORDER BY rank, job_id LIMIT $1 FOR UPDATE SKIP LOCKED))
        RETURNING job_id, rank, run_at, attempt, lease_seq
    ), numbered AS (
        SELECT *, (row_number() OVER (ORDER BY rank, job_id))::int AS slot FROM due
    ), leased AS (
        INSERT INTO leases (job_id, lease_seq, worker, attempt, rank, run_at, claimed_at, expires_at, claim_id)
        SELECT job_id, lease_seq + 1, ($2::bigint[])[slot], attempt + 1, rank, run_at, now(),
               now() + ($3::int[])[slot] * interval '1 second', $4
          FROM numbered
        RETURNING job_id, lease_seq, attempt
    ), claimed AS (
        SELECT l.*, j.model_id, j.model_hash, j.priority, j.max_attempts, j.created_at
          FROM leased l JOIN numbered n USING (job_id) JOIN jobs j ON j.id = l.job_id
         ORDER BY n.slot
    )
    SELECT now() AS claimed_at, array_agg(job_id), array_agg(lease_seq), array_agg(model_id), array_agg(model_hash),
           array_agg(attempt), array_agg(priority), array_agg(max_attempts), array_agg(created_at)
      FROM claimed
"""

_MINE = "l.job_id = i.job_id AND (l.lease_seq = i.lease_seq OR i.lease_seq = 0)"

_SHOW_PICTURE = """ON CONFLICT (model_id) DO UPDATE SET job_id = excluded.job_id, request_no = excluded.request_no,
               attempt = excluded.attempt, status = 'Ready', error_message = NULL, next_attempt_at = NULL,
               path = excluded.path, size_bytes = excluded.size_bytes, width = excluded.width, height = excluded.height,
               model_hash = excluded.model_hash, processed_at = now()
         WHERE t.request_no <= excluded.request_no
        RETURNING model_id, job_id, attempt"""

_COMPLETE = f"""
    WITH input AS (
        SELECT * FROM unnest($1::bigint[], $2::int[], $3::text[], $4::bigint[], $5::int[], $6::int[])
            AS i (job_id, lease_seq, path, size_bytes, width, height)
    ), ended AS (
        DELETE FROM leases l USING input i WHERE {_MINE} AND l.rerun_request_no IS NULL
        RETURNING l.job_id, l.lease_seq, l.attempt, i.lease_seq AS given, i.path, i.size_bytes, i.width, i.height
    ), recorded AS (
        UPDATE jobs j SET outcome = 'Completed', attempt_count = e.attempt, lease_seq = e.lease_seq,
               error_message = NULL, finished_at = now(), updated_at = now()
          FROM ended e WHERE j.id = e.job_id
        RETURNING e.*, j.model_id, j.model_hash, j.request_no, j.created_at
    ), shown AS (
        INSERT INTO thumbnails AS t (model_id, job_id, request_no, attempt, status, path, size_bytes, width, height,
                                     model_hash, created_at)
        SELECT DISTINCT ON (model_id) model_id, job_id, request_no, attempt, 'Ready', path, size_bytes, width, height,
               model_hash, created_at
          FROM recorded ORDER BY model_id, request_no DESC
        {_SHOW_PICTURE}
    ), {announce("Ready", "shown", completed="SELECT count(*) FROM recorded")}
    SELECT array_agg(job_id) AS job_ids, array_agg(given) AS given, array_agg(model_id) AS model_ids FROM recorded
"""

# A lease that was marked by an enqueue with force: the picture counts, and the job starts anew.
_COMPLETE_AND_RERUN = f"""
    WITH ended AS (
        DELETE FROM leases l WHERE l.job_id = $1 AND l.lease_seq = $2 AND l.rerun_request_no IS NOT NULL
        RETURNING l.job_id, l.lease_seq, l.attempt, l.rerun_request_no
    ), before AS (
        SELECT e.*, j.model_id, j.model_hash, j.request_no, j.priority, j.created_at
          FROM ended e JOIN jobs j ON j.id = e.job_id FOR UPDATE OF j
    ), recorded AS (
        UPDATE jobs j SET request_no = greatest(j.request_no, e.rerun_request_no), attempt_count = 0,
               lease_seq = e.lease_seq,
               error_message = NULL, updated_at = now()
          FROM ended e WHERE j.id = e.job_id
    ), again AS (
        INSERT INTO ready (job_id, rank, run_at, attempt, lease_seq)
        SELECT job_id, {rank("now()", "priority")}, now(), 0, lease_seq FROM before
    ), shown AS (
        INSERT INTO thumbnails AS t (model_id, job_id, request_no, attempt, status, path, size_bytes, width, height,
                                     model_hash, created_at)
        SELECT model_id, job_id, request_no, attempt, 'Ready', $3, $4, $5, $6, model_hash, created_at FROM before
        {_SHOW_PICTURE}
    ), {announce("Ready", "shown", wake="'jobs'")}
    SELECT model_id FROM before
"""


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
    ), {announce("Failed", "shown", wake="'jobs'")}
    SELECT job_id, given, model_id, extract(epoch FROM next_run_at - now())::float8 AS due_in, will_retry FROM decided
    """


# $6: the back-off after each attempt, in seconds; $7: jitter.
_FAIL = _fail(f"""
    WITH input AS (
        SELECT * FROM unnest($1::bigint[], $2::int[], $3::text[], $4::bool[], $5::float8[], $7::float8[])
            AS i (job_id, lease_seq, error_message, retryable, retry_delay, jitter)
    ), ended AS (
        DELETE FROM leases l USING input i WHERE {_MINE}
        RETURNING l.*, i.lease_seq AS given, i.error_message, i.retryable,
                  make_interval(secs => coalesce(i.retry_delay, ($6::float8[])[l.attempt] * i.jitter)) AS backoff
    )""")

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


# The job keeps its place in the order. A marked lease hands its newer request number on.
def _give_back(input_steps: str) -> str:
    return f"""
    {input_steps}, again AS (
        INSERT INTO ready (job_id, rank, run_at, attempt, lease_seq)
        SELECT job_id, rank, run_at, CASE WHEN rerun_request_no IS NULL THEN attempt - 1 ELSE 0 END, lease_seq
          FROM ended
    ), renumbered AS (
        UPDATE jobs j SET request_no = greatest(j.request_no, e.rerun_request_no)
          FROM ended e WHERE j.id = e.job_id AND e.rerun_request_no IS NOT NULL
    ), told AS (
        SELECT pg_notify('thumbq', 'jobs') FROM ended LIMIT 1
    )
    SELECT job_id, given, (SELECT count(*) FROM told) FROM ended
    """


_RELEASE = _give_back(f"""
    WITH input AS (
        SELECT * FROM unnest($1::bigint[], $2::int[]) AS i (job_id, lease_seq)
    ), ended AS (
        DELETE FROM leases l USING input i WHERE {_MINE}
        RETURNING l.*, i.lease_seq AS given
    )""")

_RELEASE_CLAIM = _give_back("""
    WITH ended AS (
        DELETE FROM leases l WHERE l.claim_id = $1 RETURNING l.*, l.lease_seq AS given
    )""")

_EXTEND = f"""
    UPDATE leases l SET expires_at = now() + i.seconds * interval '1 second'
      FROM unnest($1::bigint[], $2::int[], $3::float8[]) AS i (job_id, lease_seq, seconds)
     WHERE {_MINE}
    RETURNING l.job_id, l.lease_seq, l.expires_at
"""

_HELD = "SELECT job_id, lease_seq FROM leases WHERE worker = $1 ORDER BY job_id"

_STATES = "SELECT id, model_id, status, lease_seq FROM job_states WHERE id = ANY($1::bigint[])"


class Takers(NamedTuple):
    """For whom jobs are claimed: an entry for each job that they would take; the first gets the first job.

    Workers are numbers of the registry. By the id a claim that broke off is found again.
    """

    workers: Sequence[int]
    lease_seconds: Sequence[int]
    claim_id: int = 0

    def claimed(self, claimed_at: datetime, columns: Sequence[Sequence[Any]]) -> list[ClaimedJob]:
        """The jobs that they got; `columns` are the first fields of ClaimedJob, up to created_at."""
        ends = {seconds: claimed_at + timedelta(seconds=seconds) for seconds in set(self.lease_seconds)}
        expires_at = map(ends.__getitem__, self.lease_seconds)
        return list(map(ClaimedJob._make, zip(*columns, repeat(claimed_at), expires_at, strict=False)))


NOBODY = Takers((), ())


async def claim(lane: Lane, takers: Takers) -> list[ClaimedJob]:
    """Claim up to one due job for each of `takers`, in the order of rank. Attempts and lease_seq are counted up."""
    # columns and not rows, and the times but once: a third of the CPU that rows cost here
    ((claimed_at, *found),) = await lane.fetch(_CLAIM, len(takers.workers), *takers)
    return takers.claimed(claimed_at, found) if found[0] is not None else []


async def complete(lane: Lane, items: Sequence[Completion]) -> list[tuple[Verdict, int]]:
    """End attempts with a picture. For each item the verdict, and the model id where the job is known (0 otherwise)."""
    items_by_job = sorted(items)  # concurrent batches lock in one order, or they deadlock
    (row,) = await lane.fetch(_COMPLETE, *columns(items_by_job, 6))
    ended = dict(zip(zip(row["job_ids"], row["given"], strict=True), row["model_ids"], strict=True)) if row[0] else {}
    verdicts: list[tuple[Verdict, int]] = []
    unclear: list[int] = []
    for index, item in enumerate(items):
        model_id = ended.pop((item.job_id, item.lease_seq), None)
        verdicts.append((Verdict.STALE, 0) if model_id is None else (Verdict.OK, model_id))
        if model_id is None:
            unclear.append(index)
    if unclear:
        states = await _states(lane, [items[index] for index in unclear])
        for index in unclear:
            verdicts[index] = await _complete_unclear(lane, items[index], states)
    return verdicts


async def _complete_unclear(lane: Lane, item: Completion, states: dict[int, asyncpg.Record]) -> tuple[Verdict, int]:
    state = states.get(item.job_id)
    if state is not None and state["status"] == "Processing" and item.lease_seq in (0, state["lease_seq"]):
        rows = await lane.fetch(_COMPLETE_AND_RERUN, item.job_id, state["lease_seq"], *item[2:])
        if rows:
            return Verdict.OK, rows[0]["model_id"]
    return _verdict(Token(item.job_id, item.lease_seq), state, done="Completed")


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
    states = await _states(lane, unclear) if unclear else {}
    verdicts: list[tuple[Verdict, int, float | None]] = []
    for item, row in zip(items, done, strict=True):
        if row is None:
            token = Token(item.job_id, item.lease_seq)
            verdicts.append((*_verdict(token, states.get(item.job_id), done="Failed"), None))
        else:
            verdicts.append((Verdict.OK, row["model_id"], row["due_in"] if row["will_retry"] else None))
    return verdicts


async def release(lane: Lane, tokens: Sequence[Token]) -> list[Verdict]:
    """Give jobs back, their attempts unspent."""
    rows = await lane.fetch(_RELEASE, *columns(sorted(tokens), 2))
    return await _each(lane, tokens, {Token(row["job_id"], row["given"]) for row in rows})


async def release_claim(lane: Lane, claim_id: int) -> int:
    """Give back all that a claim took whose answer never came. Returns how many."""
    return len(await lane.fetch(_RELEASE_CLAIM, claim_id))


async def extend(lane: Lane, items: Sequence[tuple[Token, float]]) -> list[tuple[Verdict, datetime | None]]:
    """Let leases run for so many seconds from now. For each item the verdict and the new end."""
    by_job = sorted((*token, seconds) for token, seconds in items)  # as in complete
    rows = await lane.fetch(_EXTEND, *columns(by_job, 3))
    # one row a job, though it may be named twice: with its token, and by a caller without one
    ends = {Token(row["job_id"], lease_seq): row["expires_at"] for row in rows for lease_seq in (0, row["lease_seq"])}
    tokens = [token for token, _ in items]
    return list(zip(await _each(lane, tokens, ends), map(ends.get, tokens), strict=True))


async def expire(lane: Lane, limit: int, delays: Sequence[float], jitter: float) -> list[asyncpg.Record]:
    """End up to `limit` attempts whose lease ran out. Rows: job_id, given (lease_seq), will_retry, due_in (seconds)."""
    return await lane.fetch(_EXPIRE, limit, delays, jitter)


async def held(database: Database, worker: int) -> list[Token]:
    """The leases of one worker of the registry."""
    return [Token(*row) for row in await database.fetch(_HELD, worker)]


async def why_lost(database: Database, tokens: Sequence[Token]) -> dict[Token, LostReason]:
    """Why these leases are gone. Those that ended with a picture are left out: that was their holder's doing."""
    states = {row["id"]: row for row in await database.fetch(_STATES, [token.job_id for token in tokens])}
    reasons: dict[Token, LostReason] = {}
    for token in tokens:
        state = states.get(token.job_id)
        if state is None or state["lease_seq"] == token.lease_seq:
            if state is None or state["status"] == "Cancelled":
                reasons[token] = LostReason.CANCELLED
            elif state["status"] != "Completed":
                reasons[token] = LostReason.EXPIRED
        else:
            reasons[token] = LostReason.TAKEN_OVER
    return reasons


async def _each(lane: Lane, tokens: Sequence[Token], done: Container[Token]) -> list[Verdict]:
    unclear = [token for token in tokens if token not in done]
    states = await _states(lane, unclear) if unclear else {}
    return [
        Verdict.OK if token in done else _verdict(token, states.get(token.job_id), done=None)[0] for token in tokens
    ]


async def _states(lane: Lane, items: Sequence[Token | Completion | Failure]) -> dict[int, asyncpg.Record]:
    rows = await lane.fetch(_STATES, [item.job_id for item in items])
    return {row["id"]: row for row in rows}


def _verdict(token: Token, state: asyncpg.Record | None, done: str | None) -> tuple[Verdict, int]:
    """Why a lease was not there to be ended. `done`: the status that this report would have led to."""
    if state is None:
        return Verdict.NOT_FOUND, 0
    if not token.lease_seq:
        return Verdict.NOT_PROCESSING, state["model_id"]
    if state["status"] == done and state["lease_seq"] == token.lease_seq:
        return Verdict.ALREADY_DONE, state["model_id"]
    return Verdict.STALE, state["model_id"]
