"""What keeps a lease or gives it back, and why one is gone. Each change is one guarded statement."""

from collections.abc import Container, Sequence
from datetime import datetime

import asyncpg

from thumbq_server.domain.job import Completion, Failure, LostReason, Token, Verdict
from thumbq_server.storage.database import Database, Lane, columns

# Whose lease a report speaks of (`i`): its own while that lives, or whatever the job has when it names none.
MINE = "l.job_id = i.job_id AND (l.lease_seq = i.lease_seq OR i.lease_seq = 0)"


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
        DELETE FROM leases l USING input i WHERE {MINE}
        RETURNING l.*, i.lease_seq AS given
    )""")

_RELEASE_CLAIM = _give_back("""
    WITH ended AS (
        DELETE FROM leases l WHERE l.claim_id = $1 RETURNING l.*, l.lease_seq AS given
    )""")

_EXTEND = f"""
    UPDATE leases l SET expires_at = now() + i.seconds * interval '1 second'
      FROM unnest($1::bigint[], $2::int[], $3::float8[]) AS i (job_id, lease_seq, seconds)
     WHERE {MINE}
    RETURNING l.job_id, l.lease_seq, l.expires_at
"""

_HELD = "SELECT job_id, lease_seq FROM leases WHERE worker = $1 ORDER BY job_id"

_STATES = "SELECT id, model_id, status, lease_seq FROM job_states WHERE id = ANY($1::bigint[])"


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
    states = await states_of(lane, unclear) if unclear else {}
    return [
        Verdict.OK if token in done else verdict_on(token, states.get(token.job_id), done=None)[0] for token in tokens
    ]


async def states_of(lane: Lane, items: Sequence[Token | Completion | Failure]) -> dict[int, asyncpg.Record]:
    """What has become of the jobs whose leases were not there: by job id, rows of id, model_id, status, lease_seq."""
    rows = await lane.fetch(_STATES, [item.job_id for item in items])
    return {row["id"]: row for row in rows}


def verdict_on(token: Token, state: asyncpg.Record | None, done: str | None) -> tuple[Verdict, int]:
    """Why a lease was not there to be ended. `done`: the status that this report would have led to."""
    if state is None:
        return Verdict.NOT_FOUND, 0
    if not token.lease_seq:
        return Verdict.NOT_PROCESSING, state["model_id"]
    if state["status"] == done and state["lease_seq"] == token.lease_seq:
        return Verdict.ALREADY_DONE, state["model_id"]
    return Verdict.STALE, state["model_id"]
