"""What TLS costs: a server with a certificate and one without, in turns, on one queue.

python -m bench.studies.tls [--jobs 5000] [--rounds 5]
"""

import argparse
import asyncio
import os
import statistics
import tempfile
import time
from pathlib import Path

import psutil
import uvloop

from bench.running import service
from thumbq import Job, NewJob, Producer, Thumbnail, Worker
from thumbq_launcher.postgres.embedded import EmbeddedPostgres
from thumbq_runtime.tls.authority import Authority

_CALLS = 1_000
_PICTURE = Thumbnail("/thumbnails/1.webp", 1234, 512, 512)


async def drain(target: str, jobs: int, first: int) -> None:
    """Enqueue jobs with few calls, and complete them on a stream."""
    left = jobs
    done = asyncio.Event()

    async def handle(_job: Job) -> Thumbnail:
        nonlocal left
        left -= 1
        if not left:
            done.set()
        return _PICTURE

    async with Producer(target) as producer:
        await producer.enqueue(NewJob(model_id=first + number, model_hash="0" * 64) for number in range(jobs))
    async with Worker(target, concurrency=64, prefetch=64) as worker, asyncio.TaskGroup() as group:
        group.create_task(worker.run(handle, handle_signals=False))
        await done.wait()
        worker.stop()


async def call_one_by_one(target: str, _jobs: int, first: int) -> None:
    """Enqueue jobs with a call for each, one after the other."""
    async with Producer(target) as producer:
        for number in range(_CALLS):
            await producer.enqueue_one(NewJob(model_id=first + number, model_hash="1" * 64))


async def measure(targets: dict[str, tuple[str, psutil.Process]], jobs: int, rounds: int) -> None:
    """Print the CPU time of the server for each job, with TLS and without."""
    first = 1
    for what, work, count in (("a job on a stream", drain, jobs), ("a call to enqueue", call_one_by_one, _CALLS)):
        spent: dict[str, list[float]] = {name: [] for name in targets}
        seconds: dict[str, list[float]] = {name: [] for name in targets}
        for number in range(rounds):
            order = list(targets) if number % 2 else list(reversed(targets))
            for name in order:
                target, process = targets[name]
                before, began = sum(process.cpu_times()[:2]), time.perf_counter()
                await work(target, count, first)
                first += count
                spent[name].append(1e6 * (sum(process.cpu_times()[:2]) - before) / count)
                seconds[name].append(count / (time.perf_counter() - began))
        for name in targets:
            cost, rate = statistics.median(spent[name]), statistics.median(seconds[name])
            print(f"{what}, {name}: {cost:.0f} µs of the server's CPU, {rate:,.0f} a second")


async def main() -> None:
    """Start what is measured."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--jobs", type=int, default=5_000)
    parser.add_argument("--rounds", type=int, default=5)
    wanted = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, EmbeddedPostgres(Path(name) / "postgres") as dsn:
        folder = Path(name)
        certificate = Authority(folder / "tls").server((), days=1)
        os.environ["THUMBQ_CA"] = str(folder / "tls/ca.pem")
        files = {"THUMBQ_TLS_CERT_FILE": str(certificate), "THUMBQ_TLS_KEY_FILE": str(certificate.with_suffix(".key"))}
        (folder / "plain").mkdir()
        async with (
            service.server(dsn, folder / "plain") as (plain, plain_address),
            service.server(dsn, folder, **files) as (secure, secure_address),
        ):
            targets = {
                "plain": (plain_address, psutil.Process(plain.pid)),
                "TLS": (f"grpcs://{secure_address}", psutil.Process(secure.pid)),
            }
            await measure(targets, wanted.jobs, wanted.rounds)


if __name__ == "__main__":
    uvloop.run(main())
