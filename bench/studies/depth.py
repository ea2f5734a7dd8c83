"""What GetStats costs with ten jobs and with ten million: the time of the three statements that it is made of, and
the pages of PostgreSQL that they look at.

python -m bench.studies.depth [--jobs 10000000] [--looks 100] [--commits 300000]

Half of the jobs wait, and half have ended during the last day. It takes some minutes, and 8 GB of disk. In the end,
more jobs end one by one in the last four minutes: a server reads all that at its first look, and never again.
"""

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import uvloop

from thumbq_launcher.postgres.embedded import EmbeddedPostgres
from thumbq_server.storage.migrations import upgrade
from thumbq_server.storage.postgres.database import Database
from thumbq_server.storage.reads.activity import ACTIVITY, Activity
from thumbq_server.storage.reads.statistics import DEPTH, DURATIONS, SAMPLES, read_depth, read_durations
from thumbq_server.storage.statements import Statement

_PIECE = 1_000_000
# Jobs of one commit that ended.
_TOGETHER = 100
_STEPS = (10, 10_000, 1_000_000)

FILL = (
    """
    INSERT INTO jobs (model_id, priority, max_attempts, model_hash)
    SELECT n, 0, 3, sha256(n::text::bytea) FROM generate_series($1::bigint + 1, $1 + $2::bigint) n
    """,
    """
    INSERT INTO ready (rank, job_id, run_at, model_id, created_at, priority, max_attempts, attempt, model_hash)
    SELECT due_at, id, due_at, model_id, created_at, 0, 3, 0, model_hash FROM jobs
     WHERE model_id > $1::bigint AND model_id <= $1 + $2::bigint AND model_id % 2 = 0
    """,
    """
    INSERT INTO attempts (job_id, lease_seq, end_no, claimed_at, ended_at, attempt, outcome, path)
    SELECT id, id, nextval('end_seq'), now(), now() - interval '1 day' * random(), 1, 'Completed', '/thumbnails/1.webp'
      FROM jobs WHERE model_id > $1::bigint AND model_id <= $1 + $2::bigint AND model_id % 2 = 1
    """,
    f"""
    WITH ended AS (
        SELECT id, model_id, (row_number() OVER (ORDER BY id) - 1) / {_TOGETHER} AS number FROM jobs
         WHERE model_id > $1::bigint AND model_id <= $1 + $2::bigint AND model_id % 2 = 1
    ), commits AS (
        SELECT number, count(*) AS count, array_agg(model_id) AS model_ids, array_agg(id) AS job_ids FROM ended
         GROUP BY number
    ), numbered AS (
        SELECT *, sum(count) OVER (ORDER BY number)::bigint AS upto FROM commits
    ), head AS (
        UPDATE queue_head h SET seq = seq + e.count, completed = completed + e.count, jobs = jobs + $2
          FROM (SELECT count(*) FROM ended) e RETURNING seq - e.count AS before
    )
    INSERT INTO notifications (seq_last, seq_first, status, model_ids, job_ids, attempt_counts, created_at)
    SELECT before + upto, before + upto - count + 1, 'Ready', model_ids, job_ids,
           array_fill(1::smallint, ARRAY[count::int]), now() - interval '1 day'
      FROM numbered, head
    """,
)

# So many jobs have ended one by one, evenly in the last four minutes.
RECENT = """
    WITH head AS (UPDATE queue_head SET seq = seq + $1::bigint RETURNING seq - $1 AS before)
    INSERT INTO notifications (seq_last, seq_first, status, model_ids, job_ids, attempt_counts, created_at)
    SELECT before + n, before + n, 'Ready', ARRAY[n], ARRAY[n], ARRAY[1::smallint],
           now() - interval '4 minutes' * (1 - n / $1::float8)
      FROM head, generate_series(1, $1) n
    """


async def fill(database: Database, there: int, jobs: int) -> None:
    """Add jobs until there are `jobs`."""
    for first in range(there, jobs, _PIECE):
        for statement in FILL:
            await database.fetch(statement, first, min(_PIECE, jobs - first))
    await database.run(lambda connection: connection.execute("VACUUM ANALYZE"))


async def measure(database: Database, jobs: int, looks: int) -> None:
    """Print the median time of each statement."""
    activity = Activity(database)
    reads: dict[str, Callable[[], Awaitable[object]]] = {
        "depth": lambda: read_depth(database),
        "activity": activity.read,
        "durations": lambda: read_durations(database),
    }
    found = {name: await median(read, looks) for name, read in reads.items()}
    pages = [await pages_of(database, DEPTH), await pages_of(database, ACTIVITY, "", 0)]
    pages.append(await pages_of(database, DURATIONS, SAMPLES))
    depth = await read_depth(database)
    assert sum(depth.counters) == jobs, depth
    each = ", ".join(f"{name} {milliseconds:.2f}" for name, milliseconds in found.items())
    print(
        f"{jobs:,} jobs: {each}, together {sum(found.values()):.2f} ms; pages of PostgreSQL: "
        f"{', '.join(map(str, pages))}, together {sum(pages)}",
        flush=True,
    )


async def pages_of(database: Database, statement: Statement, *arguments: object) -> int:
    """Return how many pages a statement looks at, whatever else the machine does."""
    (row,) = await database.fetch(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {statement}", *arguments)
    plan = json.loads(row[0])[0]["Plan"]
    return int(plan["Shared Hit Blocks"]) + int(plan["Shared Read Blocks"])


async def median(read: Callable[[], Awaitable[object]], looks: int) -> float:
    """Return the median of its times, in ms."""
    times = []
    for _ in range(looks):
        began = time.perf_counter()
        await read()
        times.append(time.perf_counter() - began)
    return 1000 * statistics.median(times)


async def measure_recent(database: Database, commits: int) -> None:
    """Print how long a server takes to read what has just ended, at its first look and then."""
    await database.fetch(RECENT, commits)
    await database.run(lambda connection: connection.execute("VACUUM ANALYZE notifications"))
    firsts = [await median(Activity(database).read, 1) for _ in range(5)]
    activity = Activity(database)
    await activity.read()
    print(
        f"{commits:,} commits in the last minutes: {statistics.median(firsts):.1f} ms at the first look, "
        f"{await median(activity.read, 100):.2f} ms at the next"
    )


async def main() -> None:
    """Fill a queue, and measure before and after."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=10_000_000)
    parser.add_argument("--looks", type=int, default=100)
    parser.add_argument("--commits", type=int, default=300_000)
    wanted = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, EmbeddedPostgres(Path(name) / "postgres") as dsn:
        await upgrade(dsn)
        async with Database(dsn, statement_timeout=3600.0) as database:
            there = 0
            for jobs in (*(step for step in _STEPS if step < wanted.jobs), wanted.jobs):
                await fill(database, there, jobs)
                await measure(database, jobs, wanted.looks)
                there = jobs
            await measure_recent(database, wanted.commits)


if __name__ == "__main__":
    uvloop.run(main())
