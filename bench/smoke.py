"""The regression guard: compare a job's cost in commits, statements, rows and WAL with expectations.json.

It counts instead of timing, so a slow machine gets the same result. `python -m bench smoke --record` accepts the
present counts.
"""

import json
import re
from collections.abc import Awaitable, Callable
from pathlib import Path

from bench.running import cluster
from bench.running.cluster import Cluster
from bench.session import Session, session
from bench.subjects.contenders import OUT, THUMBQ, Crew
from thumbq_launcher.postgres.embedded import SETTINGS

EXPECTATIONS = Path(__file__).parent / "expectations.json"
_BATCHED, _SINGLY = 20_000, 300
# Accepted excess over the expectation. A drain gets more: the size of its batches depends on timing.
_TOLERANCES = {"commits": 0.25, "statements": 0.3, "rows written": 0.1, "WAL bytes": 0.2}
_DRAIN_TOLERANCES = {"commits": 1.5, "statements": 1.5, "rows written": 0.15, "WAL bytes": 0.25}
_ROWS_WRITTEN = "SELECT sum(n_tup_ins + n_tup_upd + n_tup_del)::bigint AS rows FROM pg_stat_user_tables"
_COMMITS = "SELECT count(*) AS commits FROM notifications"
# Log every statement. Keep the WAL to what the jobs write: no full pages after a checkpoint, no vacuum.
_SETTINGS = {
    "log_min_duration_statement": "0",
    "log_line_prefix": "%a ",
    "full_page_writes": "off",
    "autovacuum": "off",
}
# A statement as it was run, with the lines that it goes on in.
_STATEMENT = re.compile(rb"^thumbq LOG:  duration: \S+ ms  (?:execute|statement)[^\n]*\n(?:\t[^\n]*\n)*", re.MULTILINE)
# Those that enqueue, claim and end jobs, and look for their states. What a server does now and then is not counted:
# on a slow machine it does more of it.
_OF_JOBS = re.compile(rb"INSERT INTO jobs|DELETE FROM (?:ready|leases)|job_states|job_records")

Counts = dict[str, float]


async def run(*, record: bool) -> int:
    """Count, compare, and return the exit code: 1 when something costs too much."""
    SETTINGS.update(_SETTINGS)
    with cluster.started(OUT / "smoke") as postgres:
        counted = {
            "enqueue, 1,000 a call": await _count(postgres, _BATCHED, _enqueue),
            "enqueue, and drain with 500 credits": await _count(postgres, _BATCHED, _drain),
            "enqueue and work, one by one": await _count(postgres, _SINGLY, _one_by_one),
        }
    if record:
        EXPECTATIONS.write_text(json.dumps(_expectations(counted), indent=2) + "\n")
        print(f"{EXPECTATIONS.name} is written")
    return _compare(counted, json.loads(EXPECTATIONS.read_text()))


async def _enqueue(queue: Session, jobs: int) -> None:
    await queue.verb("bulk", jobs=jobs, first=1, in_flight=1)


async def _drain(queue: Session, jobs: int) -> None:
    await _enqueue(queue, jobs)
    async with queue.workers(Crew({"credits": 500})) as workers:
        await workers.until(jobs)
        await queue.until_finished()


async def _one_by_one(queue: Session, jobs: int) -> None:
    # With this many credits each job is claimed when it arrives, however slow the worker is.
    async with queue.workers(Crew({"credits": 100})) as workers:
        # The first job shows that the worker is ready.
        await queue.verb("single", jobs=1, first=1, in_flight=1)
        await workers.until(1)
        await queue.verb("single", jobs=jobs - 1, first=2, in_flight=1)
        await workers.until(jobs)
        await queue.until_finished()


_Step = Callable[[Session, int], Awaitable[None]]


async def _count(postgres: Cluster, jobs: int, step: _Step) -> Counts:
    """Run the step, and return its cost per job."""
    async with session(THUMBQ, postgres, OUT / "smoke") as queue:
        started = await _totals(postgres, queue)
        await step(queue, jobs)
        # A connection reports its row counts at the latest when it ends.
        await queue.end_server()
        ended = await _totals(postgres, queue)
    return {name: round((ended[name] - started[name]) / jobs, 4) for name in ended}


async def _totals(postgres: Cluster, queue: Session) -> Counts:
    log = postgres.log.read_bytes()
    return {
        "commits": (await queue.database.row(_COMMITS))["commits"],
        "statements": sum(bool(_OF_JOBS.search(statement)) for statement in _STATEMENT.findall(log)),
        "rows written": (await queue.database.row(_ROWS_WRITTEN))["rows"],
        "WAL bytes": await queue.database.wal_bytes(),
    }


def _expectations(counted: dict[str, Counts]) -> dict[str, dict[str, Counts]]:
    return {
        step: {
            name: {"a_job": count, "tolerance": (_DRAIN_TOLERANCES if "drain" in step else _TOLERANCES)[name]}
            for name, count in counts.items()
        }
        for step, counts in counted.items()
    }


def _compare(counted: dict[str, Counts], expected: dict[str, dict[str, Counts]]) -> int:
    worse = False
    for step, counts in counted.items():
        print(step)
        for name, count in counts.items():
            wanted = expected[step][name]
            limit = wanted["a_job"] * (1 + wanted["tolerance"])
            worse |= count > limit
            verdict = "TOO MUCH" if count > limit else "ok"
            print(
                f"    {name:14} {count:10.4f} a job, expected {wanted['a_job']:10.4f}, at most {limit:10.4f}  {verdict}"
            )
    return int(worse)
