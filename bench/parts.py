"""What is measured. Each part takes a fresh service and returns its figures."""

import asyncio
import hashlib
import json
import statistics
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from bench.service import Service
from thumbq import NewJob, Producer

HASHES = [hashlib.sha256(str(index).encode()).hexdigest() for index in range(256)]
Figures = dict[str, float]


def _jobs(start: int, count: int) -> list[NewJob]:
    return [NewJob(model_id=index, model_hash=HASHES[index % 256]) for index in range(start, start + count)]


async def enqueue_batch(service: Service, jobs: int) -> Figures:
    """Batches of 1,000 through EnqueueJobs, four in flight."""
    async with Producer(service.address) as producer:
        await producer.enqueue(_jobs(1, 1000))
        batches = [_jobs(start, 1000) for start in range(1001, 1001 + jobs, 1000)]
        started = time.monotonic()
        await _in_flight(batches, 4, producer.enqueue)
        return {"jobs_per_s": jobs / (time.monotonic() - started)}


async def enqueue_single(service: Service, jobs: int, in_flight: int) -> Figures:
    """Single EnqueueJob calls, so many in flight."""
    async with Producer(service.address) as producer:
        await producer.enqueue(_jobs(1, 1000))
        calls = _jobs(1001, jobs)
        started = time.monotonic()
        await _in_flight(calls, in_flight, producer.enqueue_one)
        return {"jobs_per_s": jobs / (time.monotonic() - started)}


async def drain(service: Service, jobs: int, credits_wanted: int, workers: int = 1) -> Figures:
    """From the first handler call until the database has no unfinished job."""
    async with Producer(service.address) as producer:
        for start in range(1, jobs + 1, 10_000):
            await producer.enqueue(_jobs(start, min(10_000, jobs + 1 - start)))
    await service.settle()
    before = service.cpu()
    unfinished = "SELECT (SELECT count(*) FROM ready) + (SELECT count(*) FROM leases)"
    async with _workers(service.address, credits_wanted, workers) as reports:
        while await service.value("SELECT count(*) FROM (SELECT FROM ready LIMIT 1) r"):
            await asyncio.sleep(0.02)
        while await service.value(unfinished):
            await asyncio.sleep(0.002)
        ended = time.monotonic()
        after = service.cpu()
    completed = await service.value("SELECT count(*) FROM jobs WHERE outcome = 'Completed'")
    if completed != jobs or sum(report["count"] for report in reports) != jobs:
        raise RuntimeError(f"{completed} of {jobs} jobs were completed")
    started = min(report["first"] for report in reports if report["count"])
    return {
        "jobs_per_s": jobs / (ended - started),
        "postgres_us_per_job": (after["postgres"] - before["postgres"]) / jobs * 1e6,
        "server_us_per_job": (after["server"] - before["server"]) / jobs * 1e6,
        "worker_us_per_job": sum(report["cpu"] for report in reports) / jobs * 1e6,
    }


async def pick_up(service: Service, jobs: int) -> Figures:
    """From just before the enqueue call to the first line of an idle worker's handler; one every 20 ms or so."""
    called: dict[int, float] = {}
    async with _workers(service.address, 1, 1) as reports, Producer(service.address) as producer:
        for job in _jobs(1, jobs + 20):
            called[job.model_id] = time.monotonic()
            await producer.enqueue_one(job)
            await asyncio.sleep(0.02)
    seen = reports[0]["seen"]
    waits = sorted((seen[str(model_id)] - at) * 1000 for model_id, at in called.items() if model_id > 20)
    return {
        "p50_ms": statistics.median(waits),
        "p99_ms": waits[int(len(waits) * 0.99)],
    }


@asynccontextmanager
async def _workers(target: str, credits_wanted: int, count: int) -> AsyncIterator[list[dict[str, Any]]]:
    """Worker processes until the block ends; their reports are in the list afterwards."""
    reports: list[dict[str, Any]] = []
    processes = [
        await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "bench.worker",
            target,
            str(credits_wanted),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=2**24,
        )
        for _ in range(count)
    ]
    try:
        for process in processes:
            assert process.stdout is not None
            await process.stdout.readline()
        yield reports
    finally:
        for process in processes:
            output, _ = await process.communicate(b"")
            reports.append(json.loads(output))


async def _in_flight(items: list[Any], count: int, call: Any) -> None:
    """Call with each item, `count` calls under way at a time."""
    waiting = iter(items)

    async def work() -> None:
        for item in waiting:
            await call(item)

    await asyncio.gather(*(work() for _ in range(count)))
