"""What jobs take on the disk of PostgreSQL, while they wait and when they are done.

python -m bench.studies.disk [--jobs 100000]
"""

import argparse
import asyncio
import tempfile
from pathlib import Path

import asyncpg
import uvloop

from bench.running import service
from thumbq import Job, NewJob, Producer, Thumbnail, Worker
from thumbq_launcher.postgres.embedded import EmbeddedPostgres

_PICTURE = Thumbnail("/var/lib/thumbq/thumbnails/ab/abcdef0123456789-512.webp", 21_345, 512, 512)
_TABLES = """
SELECT relname, pg_total_relation_size(oid) AS size
  FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace
"""


async def sizes(connection: asyncpg.Connection) -> dict[str, int]:
    """Return the bytes of each table with its indexes, after dead rows are cleared away."""
    await connection.execute("VACUUM")
    return {row["relname"]: row["size"] for row in await connection.fetch(_TABLES)}


def show(what: str, before: dict[str, int], after: dict[str, int], jobs: int) -> None:
    """Print what has grown, for a million jobs."""
    grown = {name: (after[name] - before[name]) / jobs for name in after if after[name] > before[name]}
    largest = sorted(grown.items(), key=lambda item: -item[1])[:6]
    tables = ", ".join(f"{name} {size:.0f}" for name, size in largest if size >= 1)
    print(f"{what}: {sum(grown.values()):.0f} MB for a million jobs ({tables})")


async def complete(target: str, jobs: int) -> None:
    """Complete every job."""
    left = jobs
    done = asyncio.Event()

    async def handle(_job: Job) -> Thumbnail:
        nonlocal left
        left -= 1
        if not left:
            done.set()
        return _PICTURE

    async with Worker(target, concurrency=1_000, prefetch=1_000) as worker, asyncio.TaskGroup() as group:
        group.create_task(worker.run(handle, handle_signals=False))
        await done.wait()
        worker.stop()


async def main() -> None:
    """Start a service, and look at its database before, between and after."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=100_000)
    jobs = parser.parse_args().jobs
    with tempfile.TemporaryDirectory() as name, EmbeddedPostgres(Path(name) / "postgres") as dsn:
        async with service.server(dsn, Path(name)) as (_, target):
            connection = await asyncpg.connect(dsn)
            empty = await sizes(connection)
            async with Producer(target) as producer:
                for first in range(1, jobs + 1, 1_000):
                    models = range(first, min(first + 1_000, jobs + 1))
                    await producer.enqueue([NewJob(model_id=model, model_hash=f"{model:064x}") for model in models])
            show("jobs that wait", empty, await sizes(connection), jobs)
            await complete(target, jobs)
            show("jobs that are done, one attempt each", empty, await sizes(connection), jobs)
            wal = await connection.fetchval("SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')")
            print(f"WAL: {wal / jobs:.0f} MB for a million jobs, most of it for a short time")
            await connection.close()


if __name__ == "__main__":
    uvloop.run(main())
