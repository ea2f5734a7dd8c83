"""Why a lease was not there to be ended or extended."""

from collections.abc import Container, Sequence

import asyncpg

from thumbq_server.domain.job import Completion, Failure, Token, Verdict
from thumbq_server.storage.postgres.lane import Lane

_STATES = "SELECT id, model_id, status, lease_seq FROM job_states WHERE id = ANY($1::bigint[])"


async def verdicts_on(lane: Lane, tokens: Sequence[Token], done: Container[Token]) -> list[Verdict]:
    """Return OK for the tokens in `done`, and for each other token why its lease was not there."""
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
