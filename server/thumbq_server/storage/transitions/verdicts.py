"""Why a lease was not there to be ended or extended."""

from collections.abc import Container, Iterable, Sequence
from typing import NamedTuple

from thumbq_server.domain.job import JobStatus, Token, Verdict
from thumbq_server.storage.fragments import columns
from thumbq_server.storage.postgres.lane import Lane
from thumbq_server.storage.statements import Statement

STATES = Statement(
    "job_states_of",
    "job_ids bigint[]",
    "SELECT id, model_id, status, lease_seq FROM job_states WHERE id = ANY ($1)",
)

# The state of a job does not tell, since it may have started again.
COMPLETED = Statement(
    "completed_leases",
    "job_ids bigint[], lease_seqs bigint[]",
    """
    SELECT i.job_id, i.lease_seq FROM unnest($1::bigint[], $2::bigint[]) AS i (job_id, lease_seq)
     WHERE (SELECT outcome FROM attempts WHERE job_id = i.job_id AND lease_seq = i.lease_seq) = 'Completed'
    """,
)


class State(NamedTuple):
    """The present state of a job."""

    job_id: int
    model_id: int
    status: JobStatus
    lease_seq: int


async def states_of(lane: Lane, job_ids: Iterable[int]) -> dict[int, State]:
    """Return the present states of jobs, by their ids."""
    rows = map(State._make, await lane.fetch(STATES, list(job_ids)))
    return {row.job_id: row._replace(status=JobStatus(row.status)) for row in rows}


async def completed_among(lane: Lane, tokens: Sequence[Token]) -> set[Token]:
    """Return those of `tokens` whose leases ended with a picture."""
    return set(map(Token._make, await lane.fetch(COMPLETED, *columns(tokens, 2)))) if tokens else set()


async def verdicts_on(
    lane: Lane, tokens: Sequence[Token], numbered: Sequence[Token], done: Container[Token]
) -> list[Verdict]:
    """Return OK for the tokens that are in `done` by their numbers; for each other, why its lease was not there."""
    pairs = list(zip(tokens, numbered, strict=True))
    unclear = [token.job_id for token, number in pairs if number not in done]
    states = await states_of(lane, unclear) if unclear else {}
    return [
        Verdict.OK if number in done else verdict_on(token, states.get(token.job_id), done=None)
        for token, number in pairs
    ]


def verdict_on(token: Token, state: State | None, done: JobStatus | None) -> Verdict:
    """Return why a lease was not there to be ended. `done`: the status that this report would have led to."""
    if state is None:
        return Verdict.NOT_FOUND
    if not token.lease_seq:
        return Verdict.NOT_PROCESSING
    if state.status is done and state.lease_seq == token.lease_seq:
        return Verdict.ALREADY_DONE
    return Verdict.STALE
