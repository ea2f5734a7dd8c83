"""What retention costs a drain: the same drain alone and while old jobs are pruned without pause, in turns.

python -m bench.studies.retention [--jobs 20000] [--rounds 5]

A server prunes for half a second of five at most: what this shows holds for a tenth of the time.
"""

import argparse
import asyncio
import statistics
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import asyncpg
import grpc
import uvloop
from google.protobuf.duration_pb2 import Duration

from bench.running import service
from thumbq import Job, NewJob, Producer, Thumbnail, Worker
from thumbq.v1.admin_pb2 import PruneJobsRequest
from thumbq.v1.admin_pb2_grpc import AdminServiceStub
from thumbq_launcher.postgres.embedded import EmbeddedPostgres

if TYPE_CHECKING:
    from thumbq.v1.admin_pb2_grpc import AdminServiceAsyncStub

_MONTH = Duration(seconds=30 * 86_400)
_PICTURE = Thumbnail("/thumbnails/1.webp", 1234, 512, 512)


async def enqueue(target: str, models: range, digit: str) -> None:
    """Enqueue a job for each model."""
    async with Producer(target) as producer:
        await producer.enqueue(NewJob(model_id=model, model_hash=digit * 64) for model in models)


async def complete(target: str, jobs: int) -> float:
    """Complete this many jobs, and return the seconds that it took."""
    left = jobs
    done = asyncio.Event()

    async def handle(_job: Job) -> Thumbnail:
        nonlocal left
        left -= 1
        if not left:
            done.set()
        return _PICTURE

    began = time.perf_counter()
    async with Worker(target, concurrency=1_000, prefetch=1_000) as worker, asyncio.TaskGroup() as group:
        group.create_task(worker.run(handle, handle_signals=False))
        await done.wait()
        worker.stop()
    return time.perf_counter() - began


async def prune(admin: "AdminServiceAsyncStub") -> None:
    """Prune, again and again, until cancelled."""
    token = ""
    while True:
        answer = await admin.PruneJobs(PruneJobsRequest(finished_before=_MONTH, page_token=token))
        token = answer.next_page_token


async def main() -> None:
    """Start a service, and print the rates of both drains."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=5)
    wanted = parser.parse_args()
    rates: dict[str, list[float]] = {"alone": [], "while jobs are pruned": []}
    with tempfile.TemporaryDirectory() as name, EmbeddedPostgres(Path(name) / "postgres") as dsn:
        async with (
            service.server(dsn, Path(name)) as (_, target),
            grpc.aio.insecure_channel(target) as channel,
        ):
            connection = await asyncpg.connect(dsn)
            admin, first = AdminServiceStub(channel), 1
            for _ in range(wanted.rounds):
                for how, found in rates.items():
                    # The second request of each model makes the job of the first one old.
                    models = range(first, first := first + wanted.jobs)
                    for digit in "ab":
                        await enqueue(target, models, digit)
                        await complete(target, wanted.jobs)
                    await connection.execute("UPDATE attempts SET ended_at = ended_at - interval '60 days'")
                    await connection.execute("UPDATE jobs SET created_at = created_at - interval '60 days'")
                    await enqueue(target, range(first, first := first + wanted.jobs), "c")
                    pruning = asyncio.create_task(prune(admin)) if how != "alone" else None
                    found.append(wanted.jobs / await complete(target, wanted.jobs))
                    if pruning:
                        pruning.cancel()
            left = await connection.fetchval("SELECT count(*) FROM jobs")
            await connection.close()
    for how, found in rates.items():
        print(f"{how}: {statistics.median(found):,.0f} jobs a second")
    ratios = [busy / alone for alone, busy in zip(*rates.values(), strict=True)]
    print(f"ratio {statistics.median(ratios):.2f}, with {first - 1 + first // 2 - left:,} jobs pruned")


if __name__ == "__main__":
    uvloop.run(main())
