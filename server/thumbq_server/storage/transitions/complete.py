"""The end of an attempt with a picture. One guarded statement.

It deletes the lease where job_id *and* lease_seq are its own, and only what that returns goes further. No row is a
named verdict, never an error.
"""

from collections.abc import Iterable, Sequence
from typing import cast

from thumbq_server.domain.job import Completion, JobStatus, Reported, Token, Verdict
from thumbq_server.storage.fragments import KIND_AND_OPTIONS, announce, columns
from thumbq_server.storage.postgres.hints import LOG
from thumbq_server.storage.postgres.lane import Lane
from thumbq_server.storage.statements import Statement
from thumbq_server.storage.transitions.endings import end_attempts, end_under_lock
from thumbq_server.storage.transitions.held import GROUPS, NAMED, PARAMETERS, in_order, named, with_numbers
from thumbq_server.storage.transitions.verdicts import State, states_of, verdict_on

_PARAMETERS = f"{PARAMETERS}, paths text[], sizes bigint[], widths integer[], heights integer[]"

_PICTURES = """unnest($1::bigint[], $2::bigint[], $6::text[], $7::bigint[], $8::int[], $9::int[])
            AS i (job_id, lease_seq, path, size_bytes, width, height)"""

# The only job of its model shows its picture, whatever other statements do. A model with several jobs is contested:
# its leases are put back as they were, and marked, and COMPLETE_CONTESTED ends them
# (docs/decisions/0013-contested-models.md). A marked lease is left alone.
COMPLETE = Statement(
    "complete",
    _PARAMETERS,
    f"""
    WITH gone AS (
        DELETE FROM leases l USING {GROUPS}
         WHERE {NAMED} AND l.rerun_request_no IS NULL AND NOT l.contested
        RETURNING l.*, g.lease_seq AS named_seq
    ), contested AS MATERIALIZED (
        SELECT model_id FROM jobs WHERE model_id = ANY ((SELECT array_agg(model_id) FROM gone)::bigint[])
         GROUP BY model_id HAVING count(*) > 1
    ), put_back AS (
        INSERT INTO leases (job_id, lease_seq, model_id, session, claimed_at, expires_at, claim_id, attempt, contested)
        SELECT job_id, lease_seq, model_id, session, claimed_at, expires_at, claim_id, attempt, true
          FROM gone WHERE model_id IN (SELECT model_id FROM contested)
    ), number AS MATERIALIZED (
        SELECT nextval('end_seq') AS end_no
    ), ended AS MATERIALIZED (
        SELECT g.*, i.path, i.size_bytes, i.width, i.height
          FROM gone g JOIN {_PICTURES} ON i.job_id = g.job_id AND i.lease_seq = g.named_seq
         WHERE g.model_id NOT IN (SELECT model_id FROM contested)
    ), recorded AS (
        INSERT INTO attempts (job_id, lease_seq, end_no, attempt, outcome, session, claimed_at, path, size_bytes, width,
                              height)
        SELECT job_id, lease_seq, (SELECT end_no FROM number), attempt, 'Completed', session, claimed_at, path,
               size_bytes, width, height
          FROM ended
    ), {announce("Ready", "ended", moves={"completed": "SELECT count(*) FROM ended"})}
    SELECT array_agg(job_id) AS job_ids, array_agg(named_seq) AS named_seqs, array_agg(model_id) AS model_ids
      FROM ended
    """,
)

COMPLETE_CONTESTED = Statement(
    "complete_contested",
    _PARAMETERS,
    end_attempts(
        "Completed",
        f"""
        DELETE FROM leases l USING {GROUPS} WHERE {NAMED} RETURNING l.*, g.lease_seq AS named_seq
        """,
        f"""
        SELECT g.*, j.request_no, j.priority, j.max_attempts, j.created_at, j.model_hash,
               {KIND_AND_OPTIONS}, i.path, i.size_bytes, i.width, i.height,
               NULL::text AS error_message, g.rerun_request_no IS NOT NULL AS will_retry, now() AS next_run_at
          FROM gone g JOIN jobs j ON j.id = g.job_id
          JOIN {_PICTURES} ON i.job_id = g.job_id AND i.lease_seq = g.named_seq
        """,
    ),
)


async def complete(lane: Lane, items: Sequence[Completion]) -> list[Reported]:
    """End attempts with a picture. The answers are in the order of `items`."""
    answers: list[Reported | None] = [None] * len(items)
    numbered = await with_numbers(lane, items)
    (row,) = await lane.fetch(COMPLETE, *_parameters(in_order(numbered)))
    if row["job_ids"]:
        lane.hints.tell(LOG)
        _answer(answers, numbered, zip(row["job_ids"], row["named_seqs"], row["model_ids"], strict=True))
    if None not in answers:
        return cast("list[Reported]", answers)
    states = await _states_of_open(lane, answers, items)
    held = [item for item in numbered if item.job_id in states and _holds(item, states[item.job_id])]
    if held:
        rows = await end_under_lock(lane, COMPLETE_CONTESTED, in_order(held), _parameters)
        _answer(answers, numbered, ((row["job_id"], row["named_seq"], row["model_id"]) for row in rows))
        states = await _states_of_open(lane, answers, items)
    return [answer or _refusal(item, states.get(item.job_id)) for answer, item in zip(answers, items, strict=True)]


def _parameters(items: Sequence[Completion]) -> list[Sequence[object]]:
    _, _, *picture = columns(items, 6)
    return [*named(items), *picture]


def _answer(answers: list[Reported | None], items: Sequence[Completion], ended: Iterable[tuple[int, int, int]]) -> None:
    """Answer OK to the first report of each ended lease; `ended` are job_id, the named lease_seq, and model_id."""
    model_ids = {(job_id, lease_seq): model_id for job_id, lease_seq, model_id in ended}
    for index, item in enumerate(items):
        if answers[index] is None and (model_id := model_ids.pop((item.job_id, item.lease_seq), None)) is not None:
            answers[index] = Reported(Verdict.OK, model_id)


async def _states_of_open(
    lane: Lane, answers: Sequence[Reported | None], items: Sequence[Completion]
) -> dict[int, State]:
    open_jobs = [item.job_id for item, answer in zip(items, answers, strict=True) if answer is None]
    return await states_of(lane, open_jobs) if open_jobs else {}


def _holds(item: Completion, state: State) -> bool:
    return state.status is JobStatus.PROCESSING and item.lease_seq == state.lease_seq


def _refusal(item: Completion, state: State | None) -> Reported:
    verdict = verdict_on(Token(item.job_id, item.lease_seq), state, done=JobStatus.COMPLETED)
    return Reported(verdict, state.model_id if state else 0)
