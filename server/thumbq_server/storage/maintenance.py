"""Keeping the tables small: old notifications and jobs that ended long ago are deleted."""

from functools import partial

import asyncpg

from thumbq_server.storage.postgres.database import Database
from thumbq_server.storage.postgres.hints import LOG
from thumbq_server.storage.statements import Statement

# Delete a prefix only. created_at is not monotonic: a transaction that started earlier may commit later. Counted ends
# are read for five minutes.
PRUNE_LOG = Statement(
    "log_prune",
    "keep_seconds double precision, limit bigint",
    """
    WITH pruned AS (
        DELETE FROM notifications WHERE seq_last = ANY (ARRAY (
            SELECT seq_last FROM (
                SELECT seq_last,
                       bool_and(created_at < now() - make_interval(secs => $1)) OVER (ORDER BY seq_last) AS old
                  FROM (SELECT seq_last, created_at FROM notifications ORDER BY seq_last LIMIT $2) AS oldest
            ) AS judged WHERE old))
        RETURNING 1
    ), uncounted AS (
        DELETE FROM other_ends WHERE ended_at < now() - interval '1 hour'
    )
    SELECT count(*) AS count FROM pruned
    """,
)

# A job may go when it ended long ago, a newer request of its model exists, and neither its model nor a version shows
# what it made. Each condition is looked up for the one job: joined with what all models show, a piece of 1,000 jobs
# read all of them a thousand times.
_MAY_GO = """
    EXISTS (SELECT FROM jobs o WHERE o.model_id = j.model_id AND o.request_no > j.request_no)
    AND NOT EXISTS (SELECT FROM model_versions v WHERE v.model_id = j.model_id AND v.model_hash = j.model_hash)
    AND (SELECT finished_at FROM job_states WHERE id = j.id) < now() - make_interval(secs => $2)
    AND j.id IS DISTINCT FROM (SELECT job_id FROM thumbnails WHERE model_id = j.model_id)
    AND j.id IS DISTINCT FROM (
        SELECT p.id FROM jobs p JOIN attempts a ON a.job_id = p.id
         WHERE p.model_id = j.model_id AND a.end_no IS NOT NULL AND a.outcome = 'Completed'
         ORDER BY a.end_no DESC LIMIT 1)"""

FIND_OLD_JOBS = Statement(
    "jobs_find_old",
    "after bigint, keep_seconds double precision, limit bigint",
    f"""
    WITH looked_at AS MATERIALIZED (
        SELECT id, created_at FROM jobs WHERE id > $1 ORDER BY id LIMIT $3
    )
    SELECT count(*) AS looked_at, max(l.id) AS last,
           bool_and(l.created_at BETWEEN now() - make_interval(secs => $2) AND now()) AS are_young,
           array_agg(l.id) FILTER (WHERE EXISTS (SELECT FROM jobs j WHERE j.id = l.id AND {_MAY_GO})) AS job_ids
      FROM looked_at l
    """,
)

# Ended jobs start again under this lock only. Where another holds it, the job is in use.
LOCK_OLD_JOBS = Statement(
    "jobs_lock_old", "job_ids bigint[]", "SELECT id FROM jobs WHERE id = ANY ($1) ORDER BY id FOR UPDATE SKIP LOCKED"
)

PRUNE_JOBS = Statement(
    "jobs_prune",
    "job_ids bigint[], keep_seconds double precision",
    f"""
    WITH old AS MATERIALIZED (
        SELECT j.id, (SELECT status FROM job_states WHERE id = j.id) AS status
          FROM jobs j WHERE j.id = ANY ($1) AND {_MAY_GO}
    ), without_events AS (
        DELETE FROM job_events WHERE job_id = ANY (ARRAY (SELECT id FROM old))
    ), without_traces AS (
        DELETE FROM job_traces WHERE job_id = ANY (ARRAY (SELECT id FROM old))
    ), without_attempts AS (
        DELETE FROM attempts WHERE job_id = ANY (ARRAY (SELECT id FROM old)) RETURNING path, ended_at
    ), listed AS (
        INSERT INTO removals (path, reported_at)
        SELECT path, max(ended_at) FROM without_attempts WHERE path <> '' GROUP BY path
    ), pruned AS (
        DELETE FROM jobs WHERE id = ANY (ARRAY (SELECT id FROM old))
    ), counted AS (
        SELECT count(*) FILTER (WHERE status = 'Completed') AS completed,
               count(*) FILTER (WHERE status = 'Failed') AS failed,
               count(*) FILTER (WHERE status = 'Cancelled') AS cancelled, count(*) AS count
          FROM old
    ), head AS (
        UPDATE queue_head h
           SET jobs = h.jobs - c.count, completed = h.completed - c.completed, failed = h.failed - c.failed,
               cancelled = h.cancelled - c.cancelled
          FROM counted c WHERE c.count > 0
        RETURNING h.seq
    )
    SELECT c.count FROM counted c LEFT JOIN head ON true
    """,
)

# A line or a trace that waits for a lock while its job is deleted is written after it. Each job is looked up by itself.
PRUNE_STRAYS = Statement(
    "jobs_prune_strays",
    "after bigint, last bigint",
    """
    WITH without_events AS (
        DELETE FROM job_events WHERE job_id = ANY (ARRAY (
            SELECT job_id
              FROM (SELECT DISTINCT job_id FROM job_events WHERE job_id > $1 AND job_id <= $2 OFFSET 0) e
             WHERE (SELECT id FROM jobs WHERE id = e.job_id) IS NULL))
    )
    DELETE FROM job_traces WHERE job_id = ANY (ARRAY (
        SELECT job_id FROM job_traces t
         WHERE job_id > $1 AND job_id <= $2 AND (SELECT id FROM jobs WHERE id = t.job_id) IS NULL))
    """,
)
_LAST_ID = 2**63 - 1


# Two that recount at once would both move the counter. The lock is taken first, by itself: the count then sees what
# the other has done.
LOCK_RECOUNT = f"SELECT pg_advisory_xact_lock({0x7468756D6272})"

# A server of a version before the counter adds jobs without counting them. Row and counter are of one snapshot, so
# what others commit meanwhile moves both alike, and the difference stays true.
RECOUNT_JOBS = Statement(
    "jobs_recount",
    "",
    """
    WITH seen AS MATERIALIZED (
        SELECT (SELECT count(*) FROM jobs) - jobs AS missing FROM queue_head
    ), moved AS (
        UPDATE queue_head h SET jobs = h.jobs + s.missing FROM seen s WHERE s.missing <> 0
    )
    SELECT abs(missing) FROM seen
    """,
)


async def prune_jobs(database: Database, keep: float, after: int, limit: int) -> tuple[int, int | None]:
    """Delete those of the next `limit` jobs after id `after` that may go. Return how many, and the last one's id.

    The id is None when no job is left to look at: ids follow the time of creation, so behind young jobs there are only
    younger ones. What is left of jobs that are gone is deleted, too.
    """
    (found,) = await database.fetch(FIND_OLD_JOBS, after, keep, limit)
    count = 0
    if found["job_ids"]:
        count = await database.run(partial(prune_found, job_ids=sorted(found["job_ids"]), keep=keep))
        database.hints.tell(LOG)
    is_last = found["looked_at"] < limit
    await database.fetch(PRUNE_STRAYS, after, _LAST_ID if is_last else found["last"])
    return count, None if is_last or found["are_young"] else found["last"]


async def prune_found(connection: asyncpg.Connection, job_ids: list[int], keep: float) -> int:
    """Delete those of the jobs that may still go. Return how many."""
    async with connection.transaction():
        locked = [row["id"] for row in await connection.fetch(LOCK_OLD_JOBS.text, job_ids)]
        # a statement of its own: it sees everything that was committed before the locks were there
        count: int = await connection.fetchval(PRUNE_JOBS.text, locked, keep)
        return count


async def prune_log(database: Database, keep: float, limit: int) -> int:
    """Delete up to `limit` commits older than `keep` seconds, the oldest first. Return how many."""
    count: int = (await database.fetch(PRUNE_LOG, keep, limit))[0]["count"]
    return count


async def recount_jobs(database: Database) -> int:
    """Count all jobs, and put the counter right. Return how many it was away."""
    count: int = await database.run(_recount)
    return count


async def _recount(connection: asyncpg.Connection) -> int:
    async with connection.transaction():
        await connection.execute(LOCK_RECOUNT)
        count: int = await connection.fetchval(RECOUNT_JOBS.text)
        return count
