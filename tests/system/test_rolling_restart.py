"""Two servers are replaced one after the other while workers are busy, and no job is affected."""

import asyncio
import hashlib
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial

import asyncpg

from tests.support.network.ports import free_port
from tests.support.waiting import eventually
from thumbq import Job, NewJob, Producer, Thumbnail, Worker

HASH = hashlib.sha256(b"model").hexdigest()
JOBS_PER_RESTART = 1000


@asynccontextmanager
async def server_process(database_url: str, port: int) -> AsyncIterator[asyncio.subprocess.Process]:
    """A server process that is killed at the end of the block, unless the test has ended it."""
    readable, writable = os.pipe()
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "thumbq_server",
        env={
            **os.environ,
            "DATABASE_URL": database_url,
            "THUMBQ_GRPC_PORT": str(port),
            "THUMBQ_READY_FD": str(writable),
        },
        pass_fds=(writable,),
        stderr=asyncio.subprocess.DEVNULL,
    )
    os.close(writable)
    try:
        assert await asyncio.to_thread(os.read, readable, 100), "the server did not start"
        yield process
    finally:
        os.close(readable)
        if process.returncode is None:
            process.kill()
        await process.wait()


async def test_a_rolling_restart_under_load_costs_no_attempt(database_url):
    ports = [free_port(), free_port()]
    target = "ipv4:" + ",".join(f"127.0.0.1:{port}" for port in ports)
    handled: list[int] = []

    async def handler(job: Job) -> Thumbnail:
        await asyncio.sleep(0.005)  # some work
        handled.append(job.id)
        return Thumbnail(path="/a", size_bytes=1, width=1, height=1)

    connection = await asyncpg.connect(database_url)
    async with AsyncExitStack() as stack:
        servers = [await stack.enter_async_context(server_process(database_url, port)) for port in ports]
        producer = await stack.enter_async_context(Producer(target))
        workers = [
            await stack.enter_async_context(Worker(target, worker_id=f"w{number}", concurrency=4, prefetch=4))
            for number in range(2)
        ]
        runs = [asyncio.create_task(worker.run(handler, handle_signals=False)) for worker in workers]
        for number, port in enumerate(ports):
            before = len(handled)
            first = 1 + number * JOBS_PER_RESTART
            await producer.enqueue(
                [NewJob(model_id=model, model_hash=HASH) for model in range(first, first + JOBS_PER_RESTART)]
            )
            await eventually(partial(progress, handled, before + 100), timeout=30)
            servers[number].send_signal(signal.SIGTERM)
            assert await asyncio.wait_for(servers[number].wait(), 30) == 0
            servers[number] = await stack.enter_async_context(server_process(database_url, port))

        async def all_done() -> bool:
            query = "SELECT completed FROM queue_head"
            return bool(await connection.fetchval(query) == len(ports) * JOBS_PER_RESTART)

        await eventually(all_done, timeout=60)
        for worker in workers:
            worker.stop()
        await asyncio.gather(*runs)
    assert await connection.fetchval("SELECT max(attempt_count) FROM job_states") == 1
    assert sorted(handled) == sorted(set(handled)), "a job was handled twice"
    await connection.close()


async def progress(handled: list[int], count: int) -> bool:
    return len(handled) >= count
