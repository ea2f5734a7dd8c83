"""What ended in each of the last five minutes. A server reads each commit once for it.

docs/decisions/0030-figures-from-the-log.md has the reasons.
"""

import time
from collections import Counter, defaultdict
from collections.abc import Mapping
from datetime import datetime

from thumbq_server.domain.operations import MinuteActivity
from thumbq_server.storage.postgres.database import Database, Row
from thumbq_server.storage.statements import Statement

# After a longer pause, the log since then is longer than that of five minutes.
_MOST_APART = 240.0
_OUTCOMES = ("Completed", "Failed", "Expired", "Cancelled", "Released")
_SUMS = ", ".join(f"coalesce(sum(count) FILTER (WHERE outcome = '{outcome}'), 0)::bigint" for outcome in _OUTCOMES)

# The log tells most ends, other_ends counts the others. Of the log, this reads what came after number $2 of the
# history $1. In another history, the first commit of the last five minutes is found by halving, since commits are
# nearly in the order of time. With both bounds the planner expects few rows, and takes the index.
ACTIVITY = Statement(
    "activity",
    "epoch text, after bigint",
    f"""
    WITH RECURSIVE head AS MATERIALIZED (
        SELECT epoch, seq, date_trunc('minute', now()) - interval '4 minutes' AS moment FROM queue_head
    ), search AS (
        SELECT (SELECT min(seq_last) FROM notifications) AS low, seq + 1 AS high FROM head
        UNION ALL
        SELECT CASE WHEN m.created_at < head.moment THEN greatest(m.seq_last, (low + high) / 2) + 1 ELSE low END,
               CASE WHEN m.created_at < head.moment THEN high ELSE (low + high) / 2 END
          FROM search CROSS JOIN head
         CROSS JOIN LATERAL (
            SELECT created_at, seq_last FROM notifications WHERE seq_last >= (low + high) / 2
             ORDER BY seq_last LIMIT 1) m
         WHERE low < high
    ), ends AS (
        SELECT true AS in_log, created_at AS ended_at,
               CASE status WHEN 'Ready' THEN 'Completed' ELSE 'Failed' END AS outcome,
               seq_last - seq_first + 1 AS count
          FROM notifications
         WHERE seq_last BETWEEN (SELECT CASE WHEN epoch = $1 THEN $2::bigint + 1 ELSE (SELECT max(low) FROM search) END
                                   FROM head) AND (SELECT seq FROM head)
           AND created_at >= (SELECT moment FROM head)
           AND status IN ('Ready', 'Failed') AND NOT test AND counted_apart IS NULL
         UNION ALL
        SELECT false, ended_at, outcome, count FROM other_ends WHERE ended_at >= (SELECT moment FROM head)
    ), sums AS (
        SELECT in_log, date_trunc('minute', ended_at) AS minute, {_SUMS} FROM ends GROUP BY 1, 2
    )
    SELECT head.epoch, head.seq, head.moment, sums.* FROM head LEFT JOIN sums ON true
    """,
)


class Activity:
    """Reads the ends of the last five minutes. One caller at a time reads."""

    def __init__(self, database: Database) -> None:
        self._database = database
        # How far the log was read: up to this number of this history, and when.
        self._epoch, self._seq = "", 0
        self._read_at = float("-inf")
        self._in_log: dict[datetime, Counter[str]] = {}

    async def read(self) -> list[MinuteActivity]:
        """Return how many attempts ended in each of the last five minutes, the present one first."""
        began = time.monotonic()
        known = self._epoch if began - self._read_at < _MOST_APART else ""
        rows = await self._database.fetch(ACTIVITY, known, self._seq)
        epoch, seq, moment = rows[0][:3]
        kept = self._in_log if epoch == known else {}
        in_log, others = _summed(rows, in_log=True), _summed(rows, in_log=False)
        for minute, counts in since(moment, kept).items():
            in_log[minute] += counts
        self._epoch, self._seq, self._read_at, self._in_log = epoch, seq, began, in_log
        minutes = sorted({*in_log, *others}, reverse=True)
        return [_activity(minute, in_log[minute] + others[minute]) for minute in minutes]


def since(moment: datetime, kept: Mapping[datetime, Counter[str]]) -> dict[datetime, Counter[str]]:
    """Return what is kept of the minutes that still count."""
    return {minute: counts for minute, counts in kept.items() if minute >= moment}


def _summed(rows: list[Row], *, in_log: bool) -> defaultdict[datetime, Counter[str]]:
    """Return the ends of each minute, either those of the log or the others."""
    found: defaultdict[datetime, Counter[str]] = defaultdict(Counter)
    for *_, is_in_log, minute, completed, failed, expired, cancelled, released in rows:
        if is_in_log is in_log:
            counts = zip(_OUTCOMES, (completed, failed, expired, cancelled, released), strict=True)
            found[minute].update(dict(counts))
    return found


def _activity(minute: datetime, counts: Counter[str]) -> MinuteActivity:
    return MinuteActivity(minute, *(counts[outcome] for outcome in _OUTCOMES))
