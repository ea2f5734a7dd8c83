"""What an operator looks up: workers, dead letters, and the place of a job in the queue."""

import json
import time
from collections.abc import Sequence
from datetime import datetime

from thumbq_server.domain.job import MODEL
from thumbq_server.domain.operations import MOST_AHEAD, DeadLetters, WorkerState
from thumbq_server.domain.records import JobRecord
from thumbq_server.storage.fragments import rank
from thumbq_server.storage.postgres.database import Database
from thumbq_server.storage.reads.jobs import record
from thumbq_server.storage.statements import Statement

MOST_WORKERS = 1000
# Dead attempts that one statement looks at. Those of cancelled jobs are among them.
LOOKED_AT = 10_000
# Seconds that one page looks for its first dead letter.
LOOK_SECONDS = 1.0

# The columns stand in the order of WorkerState.
WORKERS = Statement(
    "operations_workers",
    "limit bigint",
    """
    SELECT w.worker_id, w.session_id, w.version, w.labels, w.first_seen_at, w.last_seen_at,
           coalesce(l.count, 0) AS in_flight,
           l.count IS NULL AND w.last_seen_at <= now() - interval '1 minute' AS gone, w.completed, w.failed,
           -- nobody renews the rate of a worker that is silent
           CASE WHEN w.counted_at > now() - interval '1 minute' THEN w.completed_per_minute ELSE 0 END
             AS completed_per_minute
      FROM (SELECT * FROM workers ORDER BY last_seen_at DESC, id DESC LIMIT $1) w
      LEFT JOIN (SELECT session, count(*) FROM leases GROUP BY session) l ON l.session = w.id
     ORDER BY w.last_seen_at DESC, w.id DESC
    """,
)

DEAD_LETTERS = Statement(
    "operations_dead_letters",
    "below bigint, limit bigint, reason text, looked_at bigint",
    """
    WITH looked_at AS MATERIALIZED (
        SELECT job_id, outcome, error_message FROM attempts WHERE dead AND job_id < $1
         ORDER BY job_id DESC LIMIT $4
    ), found AS MATERIALIZED (
        SELECT job_id FROM looked_at
         WHERE outcome = 'Failed' AND strpos(lower(error_message), lower($3)) > 0
         ORDER BY job_id DESC LIMIT $2
    )
    SELECT (SELECT array_agg(job_id ORDER BY job_id DESC) FROM found) AS job_ids,
           (SELECT count(*) FROM looked_at) AS looked_at, (SELECT min(job_id) FROM looked_at) AS lowest
    """,
)

DEAD_AMONG = Statement(
    "operations_dead_among",
    "job_ids bigint[]",
    "SELECT job_id FROM attempts WHERE dead AND outcome = 'Failed' AND job_id = ANY ($1) ORDER BY job_id",
)

JOBS = Statement(
    "operations_jobs", "job_ids bigint[]", "SELECT * FROM job_records WHERE id = ANY ($1) ORDER BY id DESC"
)

AHEAD = Statement(
    "operations_ahead",
    "job_id bigint, run_at timestamp with time zone, priority smallint, limit bigint",
    f"""
    SELECT now() AS now, (
        SELECT count(*) FROM (
            SELECT FROM ready WHERE (rank, job_id) < ({rank("$2::timestamptz", "$3::smallint")}, $1)
               AND rank <= now() AND run_at <= now() LIMIT $4) a) AS ahead
    """,
)


AHEAD_OF_KIND = Statement(
    "operations_ahead_of_kind",
    "job_id bigint, run_at timestamp with time zone, priority smallint, limit bigint, kind text",
    f"""
    SELECT now() AS now, (
        SELECT count(*) FROM (
            SELECT FROM ready
             WHERE kind = $5 AND (kind_rank, job_id) < ({rank("$2::timestamptz", "$3::smallint")}, $1)
               AND kind_rank <= now() AND run_at <= now() LIMIT $4) a) AS ahead
    """,
)


async def list_workers(database: Database) -> list[WorkerState]:
    """Return the sessions of workers, the latest heartbeat first."""
    rows = [WorkerState._make(row) for row in await database.fetch(WORKERS, MOST_WORKERS)]
    return [row._replace(labels=json.loads(str(row.labels))) for row in rows]


async def find_dead_letters(database: Database, below: int, limit: int, reason: str) -> DeadLetters:
    """Return up to `limit` dead letters with ids below `below` whose last error contains `reason`.

    Behind many jobs that were cancelled, none may be found in time although there are further ones.
    """
    until = time.monotonic() + LOOK_SECONDS
    page = await _look(database, below, limit, reason)
    while not page.job_ids and page.next_below is not None and time.monotonic() < until:
        page = await _look(database, page.next_below, limit, reason)
    return page


async def _look(database: Database, below: int, limit: int, reason: str) -> DeadLetters:
    (row,) = await database.fetch(DEAD_LETTERS, below, limit, reason, LOOKED_AT)
    job_ids: list[int] = row["job_ids"] or []
    if len(job_ids) == limit:
        return DeadLetters(job_ids, job_ids[-1])
    return DeadLetters(job_ids, row["lowest"] if row["looked_at"] == LOOKED_AT else None)


async def dead_letters_among(database: Database, job_ids: Sequence[int]) -> list[int]:
    """Return those of the jobs that are dead letters."""
    return [row["job_id"] for row in await database.fetch(DEAD_AMONG, list(job_ids))]


async def read_jobs(database: Database, job_ids: list[int]) -> list[JobRecord]:
    """Return these jobs, the highest id first."""
    return [record(row) for row in await database.fetch(JOBS, job_ids)]


async def place_of(database: Database, job: JobRecord) -> tuple[datetime, int]:
    """Return the time of the database, and how many due jobs of its kind are claimed before this one that waits."""
    statement, *kind = (AHEAD,) if job.kind == MODEL else (AHEAD_OF_KIND, job.kind)
    (row,) = await database.fetch(statement, job.id, job.run_at, job.priority, MOST_AHEAD, *kind)
    return row["now"], row["ahead"] if job.run_at else 0
