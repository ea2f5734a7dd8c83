"""The queue in figures. Nothing here reads more rows when there are more jobs.

Jobs are counted in `queue_head`; durations come from the end of the log (docs/decisions/0030).
"""

from thumbq_server.domain.operations import Depth, Durations, Pause, Quantiles
from thumbq_server.domain.records import Counters
from thumbq_server.storage.fragments import COUNTED_IN, COUNTERS
from thumbq_server.storage.postgres.database import Database
from thumbq_server.storage.statements import Statement

SAMPLES = 500

DEPTH = Statement(
    "statistics_depth",
    "",
    f"""
    SELECT {COUNTERS},
           (SELECT extract(epoch FROM now() - min(run_at))::float8
              FROM ((SELECT run_at FROM ready WHERE rank <= now() ORDER BY rank, job_id LIMIT 1000)
                    UNION ALL
                    (SELECT run_at FROM ready WHERE kind IS NOT NULL AND kind_rank <= now()
                      ORDER BY kind, kind_rank, job_id LIMIT 1000)) next
             WHERE run_at <= now()) AS oldest_age,
           (SELECT count(*) FROM workers WHERE last_seen_at > now() - interval '1 minute') AS workers,
           p.paused_at, p.paused_by, p.reason
      FROM {COUNTED_IN} LEFT JOIN queue_pause p ON true
    """,
)

PENDING = Statement("statistics_pending", "", f"SELECT {COUNTERS} FROM {COUNTED_IN}")

# The attempts that ended last, each looked up by itself. `tail` is no WITH query and is not sorted again: it is read
# from its end, until there are jobs enough.
DURATIONS = Statement(
    "statistics_durations",
    "limit bigint",
    """
    WITH sample AS MATERIALIZED (
        SELECT job_id
          FROM (SELECT status, test, job_ids FROM notifications
                 ORDER BY seq_last DESC LIMIT 2 * $1::bigint) tail
         CROSS JOIN LATERAL unnest(job_ids) AS job_id
         WHERE status = 'Ready' AND NOT test
         LIMIT $1
    ), measured AS (
        SELECT extract(epoch FROM a.claimed_at - coalesce(b.next_attempt_at, j.due_at))::float8 AS wait,
               extract(epoch FROM a.ended_at - a.claimed_at)::float8 AS processing
          FROM sample s
         CROSS JOIN LATERAL (SELECT since, due_at FROM jobs WHERE id = s.job_id OFFSET 0) j
         CROSS JOIN LATERAL (
            SELECT lease_seq, claimed_at, ended_at FROM attempts
             WHERE job_id = s.job_id AND outcome = 'Completed' AND claimed_at IS NOT NULL
             ORDER BY lease_seq DESC LIMIT 1) a
          LEFT JOIN LATERAL (
            SELECT next_attempt_at FROM attempts
             WHERE job_id = s.job_id AND lease_seq < a.lease_seq AND lease_seq > coalesce(j.since, 0)
             ORDER BY lease_seq DESC LIMIT 1) b ON true
    )
    SELECT count(*) AS samples,
           percentile_disc(ARRAY[0.5, 0.95, 0.99]) WITHIN GROUP (ORDER BY greatest(wait, 0)) AS wait,
           percentile_disc(ARRAY[0.5, 0.95, 0.99]) WITHIN GROUP (ORDER BY greatest(processing, 0)) AS processing
      FROM measured
    """,
)


async def read_depth(database: Database) -> Depth:
    """Return how many jobs there are, who works, and whether the queue is paused."""
    ((*counters, oldest_age, workers, paused_at, paused_by, reason),) = await database.fetch(DEPTH)
    pause = Pause(paused_at, paused_by, reason) if paused_at else None
    return Depth(Counters._make(counters), oldest_age, workers, pause)


async def count_pending(database: Database) -> int:
    """Return how many jobs are Pending."""
    (row,) = await database.fetch(PENDING)
    pending: int = row["pending"]
    return pending


async def read_durations(database: Database) -> Durations:
    """Return how long the attempts that ended last waited and took."""
    (row,) = await database.fetch(DURATIONS, SAMPLES)
    if not row["samples"]:
        return Durations(0, None, None)
    return Durations(row["samples"], Quantiles(*row["wait"]), Quantiles(*row["processing"]))
