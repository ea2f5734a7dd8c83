"""A worker whose handlers block, in a process of its own: `python blocking_worker.py ADDRESS WAY SECONDS TIME_LIMIT`.

It prints the id of each job whose handler begins, and ends on SIGTERM.
"""

import asyncio
import logging
import sys
import threading
import time

from thumbq import Handler, Job, Thumbnail, Worker, is_cancelled

PICTURE = Thumbnail("/thumbnails/a.png", 1, 1, 1)
SECONDS = float(sys.argv[3])


def say(word: object) -> None:
    sys.stdout.write(f"{word}\n")
    sys.stdout.flush()


async def sleeps(job: Job) -> Thumbnail:
    say(job.id)
    time.sleep(SECONDS)  # noqa: ASYNC251 - a handler that blocks is what these tests are about
    return PICTURE


async def hangs(job: Job) -> Thumbnail:
    say(job.id)
    threading.Event().wait()
    return PICTURE


async def hangs_after_a_wait(job: Job) -> Thumbnail:
    await asyncio.sleep(0)
    return await hangs(job)


def hangs_in_a_thread(job: Job) -> Thumbnail:
    say(job.id)
    threading.Event().wait()
    return PICTURE


def asks_in_a_thread(job: Job) -> Thumbnail:
    say(job.id)
    while not is_cancelled():
        time.sleep(0.01)
    say("told")
    return PICTURE


def hangs_in_a_process(job: Job) -> Thumbnail:
    say(job.id)
    while True:
        pass


WAYS: dict[str, Handler] = {
    way.__name__: way
    for way in (sleeps, hangs, hangs_after_a_wait, hangs_in_a_thread, asks_in_a_thread, hangs_in_a_process)
}


async def main(address: str, way: str, time_limit: float) -> None:
    async with Worker(address, concurrency=8, grace=0.1, time_limit=time_limit) as worker:
        await worker.run(WAYS[way], processes=way == "hangs_in_a_process")


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO)
    asyncio.run(main(sys.argv[1], sys.argv[2], float(sys.argv[4])))
