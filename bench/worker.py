"""A worker process of the bench: `python -m bench.worker TARGET CREDITS`. Prints a JSON line when it is told to end.

The handler does what any handler does at least: it is called for each job, reads it, and returns a result.
"""

import asyncio
import json
import sys
import time

import uvloop

from thumbq import Job, Thumbnail, Worker

THUMBNAIL = Thumbnail(path="/var/lib/thumbs/de/bb/debbbb1c", size_bytes=45678, width=512, height=512)


async def main(target: str, credits_wanted: int) -> None:
    """Work until standard input is closed."""
    first = 0.0
    count = 0
    seen: dict[int, float] = {}

    async def handle(job: Job) -> Thumbnail:
        nonlocal first, count
        count += 1
        if count == 1:
            first = time.monotonic()
        if credits_wanted == 1:
            seen[job.model_id] = time.monotonic()
        return THUMBNAIL

    concurrency = min(credits_wanted, 100)
    async with Worker(
        target, worker_id="bench", concurrency=concurrency, prefetch=credits_wanted - concurrency
    ) as worker:
        run = asyncio.create_task(worker.run(handle, handle_signals=False))
        print("ready", flush=True)
        await asyncio.to_thread(sys.stdin.read)
        cpu = time.process_time()
        worker.stop()
        await run
    print(json.dumps({"first": first, "count": count, "cpu": cpu, "seen": seen}), flush=True)


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1], int(sys.argv[2])))
