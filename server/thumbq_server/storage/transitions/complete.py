"""The end of an attempt with a picture. One guarded statement.

It deletes the lease where job_id *and* lease_seq are its own, and only what that returns goes further. No row is a
named verdict, never an error.
"""

from collections.abc import Collection, Container, Iterable, Sequence
from itertools import chain
from typing import Any, cast

import asyncpg

from thumbq_server.domain.columns import Completions, one_or_all
from thumbq_server.domain.ends import Ends
from thumbq_server.domain.job import Completion, JobStatus, Reported, Token, Verdict
from thumbq_server.storage.fragments import KIND_AND_OPTIONS, announce, columns
from thumbq_server.storage.long_columns import as_numbers, as_paths, paths_of
from thumbq_server.storage.postgres.hints import LOG
from thumbq_server.storage.postgres.lane import Lane
from thumbq_server.storage.statements import Statement
from thumbq_server.storage.transitions.endings import end_attempts, end_under_lock
from thumbq_server.storage.transitions.held import (
    GROUPS,
    NAMED,
    PARAMETERS,
    Named,
    grouped,
    in_order,
    named,
    with_numbers,
)
from thumbq_server.storage.transitions.verdicts import State, completed_among, states_of, verdict_on

_PICTURE_PARAMETERS = "paths text, sizes text, widths integer[], heights integer[]"
# Its job_ids are an array: the groups of leases look into it again and again.
_PICTURES = f"$1::bigint[], {paths_of('$5')}, $6::text::bigint[], $7::int[], $8::int[]"

# The only job of its model shows its picture, whatever other statements do. A model with several jobs is contested:
# its leases are put back as they were, and marked, and COMPLETE_CONTESTED ends them
# (docs/decisions/0013-contested-models.md). A marked lease is left alone. Each job is named once; a width or a height
# that stands alone is that of all pictures (docs/decisions/0024-a-drain-in-columns.md).
COMPLETE = Statement(
    "complete",
    f"{PARAMETERS}, {_PICTURE_PARAMETERS}, tell_models boolean",
    f"""
    WITH gone AS (
        DELETE FROM leases l USING {GROUPS}
         WHERE {NAMED} AND l.rerun_request_no IS NULL AND NOT l.contested
        RETURNING l.job_id, l.lease_seq, l.model_id, l.session, l.claimed_at, l.expires_at, l.claim_id, l.attempt
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
        SELECT g.job_id, g.lease_seq, g.model_id, g.session, g.claimed_at, g.attempt, i.path, i.size_bytes,
               CASE WHEN cardinality($7) = 1 THEN ($7::int[])[1] ELSE i.width END AS width,
               CASE WHEN cardinality($8) = 1 THEN ($8::int[])[1] ELSE i.height END AS height
          FROM gone g JOIN unnest({_PICTURES}) AS i (job_id, path, size_bytes, width, height) ON i.job_id = g.job_id
         WHERE g.model_id NOT IN (SELECT model_id FROM contested)
    ), recorded AS (
        INSERT INTO attempts (job_id, lease_seq, end_no, attempt, outcome, session, claimed_at, path, size_bytes, width,
                              height)
        SELECT job_id, lease_seq, (SELECT end_no FROM number), attempt, 'Completed', session, claimed_at, path,
               size_bytes, width, height
          FROM ended
    ), {announce("Ready", "ended", moves={"completed": "SELECT count(*) FROM ended"})}
    SELECT count(*) AS count, CASE WHEN $9 OR count(*) < cardinality($1) THEN array_agg(job_id) END AS job_ids,
           CASE WHEN $9 THEN array_agg(model_id) END AS model_ids, array_agg(session) AS sessions
      FROM ended
    """,
)

# The same for a single job, without arrays and joins. Whether other jobs of its model exist is looked at first, so a
# lease of a contested model stays as it is.
COMPLETE_ONE = Statement(
    "complete_one",
    "job_id bigint, lease_seq bigint, path text, size_bytes bigint, width integer, height integer",
    """
    WITH gone AS (
        DELETE FROM leases l
         WHERE l.job_id = $1 AND l.lease_seq = $2 AND l.rerun_request_no IS NULL AND NOT l.contested
           AND NOT EXISTS (SELECT FROM jobs WHERE model_id = l.model_id AND id <> l.job_id OFFSET 0)
        RETURNING l.model_id, l.session, l.claimed_at, l.attempt
    ), recorded AS (
        INSERT INTO attempts (job_id, lease_seq, end_no, attempt, outcome, session, claimed_at, path, size_bytes, width,
                              height)
        SELECT $1, $2, nextval('end_seq'), attempt, 'Completed', session, claimed_at, $3, $4, $5, $6 FROM gone
    ), head AS (
        UPDATE queue_head h SET seq = h.seq + 1, completed = h.completed + 1 WHERE EXISTS (SELECT FROM gone)
        RETURNING h.seq
    ), logged AS (
        INSERT INTO notifications (seq_last, seq_first, status, model_ids, job_ids, attempt_counts)
        SELECT seq, seq, 'Ready', ARRAY[model_id], ARRAY[$1], ARRAY[attempt] FROM head, gone
    )
    SELECT count(*) AS count, array_agg($1) AS job_ids, array_agg(model_id) AS model_ids,
           array_agg(session) AS sessions
      FROM gone
    """,
)

COMPLETE_CONTESTED = Statement(
    "complete_contested",
    f"{PARAMETERS}, {_PICTURE_PARAMETERS}, lease_seqs bigint[]",
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
          JOIN unnest({_PICTURES}, $9::bigint[]) AS i (job_id, path, size_bytes, width, height, lease_seq)
            ON i.job_id = g.job_id AND i.lease_seq = g.named_seq
        """,
    ),
)


async def complete(lane: Lane, items: Sequence[Completion], ends: Ends | None = None) -> list[Reported]:
    """End attempts with a picture, and count them in `ends`. The answers are in the order of `items`."""
    ends = ends or Ends()
    answers: list[Reported | None] = [None] * len(items)
    numbered = await with_numbers(lane, items)
    # one for each job: of several leases of a job, the newest
    named_once = in_order({item.job_id: item for item in in_order(numbered)}.values())
    lease_seqs = {item.job_id: item.lease_seq for item in named_once}
    _, _, *pictures = columns(named_once, 6)
    row = await _end(lane, named(named_once), pictures, ends, tell_models=True)
    if row["count"]:
        ended = zip(row["job_ids"], map(lease_seqs.__getitem__, row["job_ids"]), row["model_ids"], strict=True)
        _answer(answers, numbered, ended)
    if None not in answers:
        return cast("list[Reported]", answers)
    states = await _states_of_open(lane, answers, items)
    held = [item for item in numbered if item.job_id in states and _holds(item, states[item.job_id])]
    if held:
        rows = await end_under_lock(lane, COMPLETE_CONTESTED, in_order(held), _parameters)
        ends.completed.update(row["session"] for row in rows)
        _answer(answers, numbered, ((row["job_id"], row["named_seq"], row["model_id"]) for row in rows))
        states = await _states_of_open(lane, answers, items)
    answered = list(zip(answers, items, strict=True))
    done = await completed_among(lane, [Token(*item[:2]) for answer, item in answered if answer is None])
    return [answer or _refusal(item, states.get(item.job_id), done) for answer, item in answered]


async def complete_columns(
    lane: Lane, groups: Sequence[Completions], ends: Ends | None = None
) -> list[list[tuple[Token, Verdict]]]:
    """Do as `complete` for many at once. Return for each group those that were not simply taken, and why."""
    ends = ends or Ends()
    job_ids = {job_id for group in groups for job_id in group.job_ids}
    ended: Collection[int] = ()
    # A job that is reported twice goes the way of single reports.
    if len(job_ids) == sum(len(group.job_ids) for group in groups):
        row = await _end(lane, *_merged(groups), ends, tell_models=False)
        if row["count"] == len(job_ids):
            return [[] for _ in groups]
        ended = frozenset(row["job_ids"] or ())
    left = [[item for item in group.rows() if item.job_id not in ended] for group in groups]
    answers = iter(await complete(lane, list(chain(*left)), ends))
    return [
        [
            (Token(item.job_id, item.lease_seq), verdict)
            for item, (verdict, _) in zip(items, answers, strict=False)
            if verdict is not Verdict.OK
        ]
        for items in left
    ]


async def _end(
    lane: Lane, names: Named, pictures: Sequence[Sequence[Any]], ends: Ends, *, tell_models: bool
) -> asyncpg.Record:
    paths, sizes, *measures = pictures
    if len(paths) == 1:
        picture = [column[0] for column in pictures]
        (row,) = await lane.fetch(COMPLETE_ONE, names.job_ids[0], names.group_lease_seqs[0], *picture)
    else:
        widths, heights = map(one_or_all, measures) if paths else measures
        pictures = as_paths(paths), as_numbers(sizes), widths, heights
        (row,) = await lane.fetch(COMPLETE, *names, *pictures, tell_models)
    if row["count"]:
        lane.hints.tell(LOG)
        ends.completed.update(row["sessions"])
    return row


def _merged(groups: Sequence[Completions]) -> tuple[Named, Sequence[Sequence[object]]]:
    """Return the groups by their numbers, each number once: how leases are named, and the pictures."""
    by_number: dict[int, list[Completions]] = {}
    for group in groups:
        by_number.setdefault(group.lease_seq, []).append(group)
    ordered = [group for lease_seq in sorted(by_number) for group in by_number[lease_seq]]
    sizes = [(lease_seq, sum(len(same.job_ids) for same in by_number[lease_seq])) for lease_seq in sorted(by_number)]
    _, *merged = zip(*ordered, strict=True)
    job_ids, *pictures = (list(chain(*column)) for column in merged)
    return grouped(job_ids, sizes), pictures


def _parameters(items: Sequence[Completion]) -> list[Sequence[object]]:
    _, lease_seqs, paths, sizes, *measures = columns(items, 6)
    return [*named(items), as_paths(paths), as_numbers(sizes), *measures, lease_seqs]


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


def _refusal(item: Completion, state: State | None, done: Container[Token]) -> Reported:
    token = Token(item.job_id, item.lease_seq)
    verdict = Verdict.ALREADY_DONE if token in done else verdict_on(token, state, done=None)
    return Reported(verdict, state.model_id if state else 0)
