"""The queue in figures. Nothing here reads more rows when there are more jobs.

Jobs are counted in `queue_head`; durations come from the end of the log (docs/decisions/0030-figures-from-the-log.md).
"""

from thumbq_server.domain.operations import Depth, Durations, Pause, Quantiles
from thumbq_server.domain.records import Counters
from thumbq_server.storage.fragments import COUNTED_IN, COUNTERS
from thumbq_server.storage.postgres.database import Database
from thumbq_server.storage.statements import Statement

SAMPLES = 500
# The walk from kind to kind ends here, since a producer may name as many as it likes.
MOST_KINDS = 100

# Jobs of other kinds than Model stand in an index kind by kind, and the next ones of each kind are looked at. The next
# ones of all these kinds together could be those of one busy kind alone.
DEPTH = Statement(
    "statistics_depth",
    "",
    f"""
    WITH RECURSIVE kinds (kind, number) AS (
        (SELECT kind, 1 FROM ready WHERE kind IS NOT NULL ORDER BY kind, kind_rank, job_id LIMIT 1)
         UNION ALL
        SELECT (SELECT kind FROM ready WHERE kind IS NOT NULL AND kind > k.kind
                 ORDER BY kind, kind_rank, job_id LIMIT 1), number + 1
          FROM kinds k WHERE k.kind IS NOT NULL AND number < {MOST_KINDS}
    )
    SELECT {COUNTERS},
           (SELECT extract(epoch FROM now() - min(run_at))::float8
              FROM ((SELECT run_at FROM ready WHERE rank <= now() ORDER BY rank, job_id LIMIT 1000)
                    UNION ALL
                    (SELECT r.run_at FROM kinds k CROSS JOIN LATERAL (
                        SELECT run_at FROM ready WHERE kind = k.kind AND kind_rank <= now()
                         ORDER BY kind_rank, job_id LIMIT 100) r)) next
             WHERE run_at <= now()) AS oldest_age,
           (SELECT count(*) FROM workers
             WHERE last_seen_at > now() - interval '1 minute'
                OR id = ANY (ARRAY (SELECT DISTINCT session FROM leases))) AS workers,
           p.paused_at, p.paused_by, p.reason
      FROM {COUNTED_IN} LEFT JOIN queue_pause p ON true
    """,
)

PENDING = Statement("statistics_pending", "", f"SELECT {COUNTERS} FROM {COUNTED_IN}")

# The attempts that ended last. The log is read from its end, until there are jobs enough. Jobs that end together mostly
# stand together, so that all are looked up in one go. What an attempt waited for is what stands before it: the attempt
# before, or its job, which stands behind the attempts of its earlier lives.
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
    ), facts AS (
        SELECT id AS job_id, coalesce(since, 0) AS lease_seq, true AS is_job, due_at, NULL AS outcome,
               NULL::timestamptz AS claimed_at, NULL::timestamptz AS ended_at, NULL::timestamptz AS next_attempt_at
          FROM jobs WHERE id = ANY (ARRAY(SELECT job_id FROM sample))
         UNION ALL
        SELECT job_id, lease_seq, false, NULL, outcome, claimed_at, ended_at, next_attempt_at
          FROM attempts WHERE job_id = ANY (ARRAY(SELECT job_id FROM sample))
    ), attempt_by_attempt AS (
        SELECT job_id, lease_seq, outcome, claimed_at, ended_at,
               coalesce(lag(next_attempt_at) OVER (PARTITION BY job_id ORDER BY lease_seq, is_job),
                        max(due_at) OVER (PARTITION BY job_id)) AS due_at
          FROM facts
    ), measured AS (
        SELECT DISTINCT ON (job_id) extract(epoch FROM claimed_at - due_at)::float8 AS wait,
               extract(epoch FROM ended_at - claimed_at)::float8 AS processing
          FROM attempt_by_attempt WHERE outcome = 'Completed' AND claimed_at IS NOT NULL
         ORDER BY job_id, lease_seq DESC
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
