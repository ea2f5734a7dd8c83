"""Pieces that several statements share."""

from collections.abc import Sequence
from typing import Any

from thumbq_server.storage.postgres.notify import CHANNEL, JOBS, LOG

WAKE_JOBS, WAKE_LOG = f"'{JOBS}'", f"'{LOG}'"
# One step of priority outweighs this much waiting: a job is overtaken only by jobs due at most nine steps after it.
AGING_STEP = "interval '60 seconds'"
# The lease that report `i` speaks of: its own while that lives, or whatever the job has when the report names none.
MINE = "l.job_id = i.job_id AND (l.lease_seq = i.lease_seq OR i.lease_seq = 0)"


def rank(run_at: str, priority: str) -> str:
    """Return the place of a job in the order of claims."""
    return f"{run_at} - {priority} * {AGING_STEP}"


def announce(status: str, source: str, *, completed: str = "0", wake: str = WAKE_LOG) -> str:
    """Return three steps of a statement that put the rows of step `source` into the log, in the same commit.

    `source` has model_id, job_id and attempt; for Failed error_message and next_attempt_at as well. `completed` is how
    far the counter of Completed jobs moves, `wake` the hint for all servers, both in SQL. Without rows nothing is
    written, and the head stays unlocked.
    """
    failed = status == "Failed"
    error_messages = "array_agg(error_message)" if failed else "NULL::text[]"
    next_attempt_ats = "array_agg(next_attempt_at)" if failed else "NULL::timestamptz[]"
    return f"""
    news AS (
        SELECT count(*) AS count, ({completed})::bigint AS completed,
               array_agg(model_id) AS model_ids, array_agg(job_id) AS job_ids,
               array_agg(attempt)::smallint[] AS attempt_counts,
               {error_messages} AS error_messages, {next_attempt_ats} AS next_attempt_ats
          FROM {source}
    ), head AS (
        UPDATE queue_head h SET seq = h.seq + news.count, completed = h.completed + news.completed
          FROM news WHERE news.count > 0 OR news.completed <> 0
        RETURNING h.seq, pg_notify('{CHANNEL}', {wake})
    ), logged AS (
        INSERT INTO notifications (seq_last, seq_first, status, model_ids, job_ids, attempt_counts,
                                   error_messages, next_attempt_ats)
        SELECT head.seq, head.seq - news.count + 1, '{status}', news.model_ids, news.job_ids, news.attempt_counts,
               news.error_messages, news.next_attempt_ats
          FROM head, news WHERE news.count > 0
    )"""


def columns(rows: Sequence[tuple[Any, ...]], count: int) -> list[Sequence[Any]]:
    """Return the columns of `rows`, as `unnest` takes them; `count` empty ones for no rows."""
    return list(zip(*rows, strict=True)) if rows else [()] * count
