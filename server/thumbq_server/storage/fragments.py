"""Pieces that several statements share."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

# Jobs by status, from one row and the few that are leased. A job that has not ended and is not leased is Pending.
COUNTERS = """greatest(h.jobs - h.completed - h.failed - h.cancelled - l.processing, 0) AS pending, l.processing,
           h.completed, h.failed, h.cancelled"""
COUNTED_IN = "queue_head h CROSS JOIN (SELECT count(*) AS processing FROM leases) l"
# True while jobs may be handed out. PostgreSQL looks once a statement, into a table that is empty or has one row.
NOT_PAUSED = "NOT EXISTS (SELECT FROM queue_pause WHERE only_row)"
# One step of priority outweighs this much waiting: a job is overtaken only by jobs due at most nine steps after it.
AGING_STEP = "interval '60 seconds'"


def rank(run_at: str, priority: str) -> str:
    """Return the place of a job in the order of claims."""
    return f"{run_at} - {priority} * {AGING_STEP}"


def put_in_queue(source: str, run_at: str, *, attempt: str = "0", where: str = "") -> str:
    """Return a step of a statement that puts the rows of step `source` into `ready`.

    Workers that name no kinds claim by `rank` and find Models there; jobs of other kinds stand behind the end of that
    order and have an order of their own (docs/decisions/0046-kinds-and-options.md).
    """
    place = rank(run_at, "priority")
    return f"""
        INSERT INTO ready (rank, job_id, run_at, model_id, created_at, priority, max_attempts, attempt, model_hash,
                           kind, kind_rank, options)
        SELECT CASE WHEN kind IS NULL THEN {place} ELSE 'infinity' END, job_id, {run_at}, model_id, created_at,
               priority, max_attempts, {attempt}, model_hash, kind, CASE WHEN kind IS NOT NULL THEN {place} END, options
          FROM {source} {where}"""


# What a job is when its attempt has ended: as the enqueue says that marked its lease `g`, else as it was.
KIND_AND_OPTIONS = """CASE WHEN g.rerun_request_no IS NULL THEN j.kind ELSE g.rerun_kind END AS kind,
               CASE WHEN g.rerun_request_no IS NULL THEN j.options ELSE g.rerun_options END AS options"""


def count_apart(outcome: str, source: str, *, where: str = "") -> str:
    """Return a step of a statement that counts the rows of step `source` as ends which the log does not count."""
    return f"""
        INSERT INTO other_ends (outcome, count)
        SELECT '{outcome}', count(*) FROM {source} {where} HAVING count(*) > 0"""


def announce(
    status: str, source: str, *, moves: Mapping[str, str] = MappingProxyType({}), counted_apart: bool = False
) -> str:
    """Return three steps of a statement that put the rows of step `source` into the log, in the same commit.

    `source` has model_id, job_id and attempt; for Failed error_message and next_attempt_at as well. `moves` says how
    far each counter of jobs moves, in SQL. Without rows and moves nothing is written, and the head stays free. What
    is `counted_apart` is no end of an attempt for the figures of the last minutes.
    """
    failed = status == "Failed"
    error_messages = "array_agg(error_message)" if failed else "NULL::text[]"
    next_attempt_ats = "array_agg(next_attempt_at)" if failed else "NULL::timestamptz[]"
    mark, marked = (", counted_apart", ", true") if counted_apart else ("", "")
    moved = "".join(f"({amount})::bigint AS {counter}, " for counter, amount in moves.items())
    changes = "".join(f", {counter} = h.{counter} + news.{counter}" for counter in moves)
    changed = "".join(f" OR news.{counter} <> 0" for counter in moves)
    return f"""
    news AS (
        SELECT count(*) AS count, {moved}array_agg(model_id) AS model_ids, array_agg(job_id) AS job_ids,
               array_agg(attempt)::smallint[] AS attempt_counts,
               {error_messages} AS error_messages, {next_attempt_ats} AS next_attempt_ats
          FROM {source}
    ), head AS (
        UPDATE queue_head h SET seq = h.seq + news.count{changes}
          FROM news WHERE news.count > 0{changed}
        RETURNING h.seq
    ), logged AS (
        INSERT INTO notifications (seq_last, seq_first, status, model_ids, job_ids, attempt_counts,
                                   error_messages, next_attempt_ats{mark})
        SELECT head.seq, head.seq - news.count + 1, '{status}', news.model_ids, news.job_ids, news.attempt_counts,
               news.error_messages, news.next_attempt_ats{marked}
          FROM head, news WHERE news.count > 0
    )"""


def columns(rows: Sequence[tuple[Any, ...]], count: int) -> list[Sequence[Any]]:
    """Return the columns of `rows`, as `unnest` takes them; `count` empty ones for no rows."""
    return list(zip(*rows, strict=True)) if rows else [()] * count
