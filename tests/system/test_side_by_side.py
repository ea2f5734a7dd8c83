"""Servers of an earlier release and of this one serve one queue, beside and after each other, and nothing is lost."""

import asyncio
import hashlib
import os
import signal
import sys
from contextlib import AsyncExitStack, asynccontextmanager

import asyncpg
import pytest

from tests.support.network.ports import free_port
from tests.support.service.previous_release import TO_GO_BACK_TO, TO_RENEW, install
from tests.support.waiting import eventually
from thumbq import Job, JobFailed, NewJob, Producer, Thumbnail, Worker

pytestmark = [pytest.mark.previous_release, pytest.mark.timeout(600)]
HASH = hashlib.sha256(b"model").hexdigest()
JOBS = 400


@asynccontextmanager
async def server(database_url, port, log, **variables):
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
            **variables,
        },
        pass_fds=(writable,),
        stderr=log,
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


class Load:
    """A worker at each address, which fail every tenth job once, and producers that give them jobs."""

    def __init__(self, stack):
        self._stack = stack
        self._runs = []
        self._workers = []
        self.handled = []

    async def work_at(self, address):
        worker = await self._stack.enter_async_context(Worker(address, worker_id=f"at-{address}", concurrency=4))
        self._workers.append(worker)
        self._runs.append(asyncio.create_task(worker.run(self._handle, handle_signals=False)))

    async def enqueue_at(self, address, first):
        async with Producer(address, timeout=300) as producer:
            for start in range(first, first + JOBS, 50):
                await producer.enqueue(
                    [NewJob(model_id=model, model_hash=HASH, max_attempts=10) for model in range(start, start + 50)]
                )

    async def end(self):
        for worker in self._workers:
            worker.stop()
        await asyncio.gather(*self._runs)

    async def _handle(self, job: Job) -> Thumbnail:
        if job.model_id % 10 == 0 and job.attempt_count == 1:
            raise JobFailed("once")
        self.handled.append(job.model_id)
        return Thumbnail(path="/a", size_bytes=1, width=1, height=1)


async def test_old_and_new_servers_work_side_by_side_and_nothing_is_lost(empty_database_url, tmp_path):
    old_port, new_port = free_port(), free_port()
    old, new = f"127.0.0.1:{old_port}", f"127.0.0.1:{new_port}"
    previous = {"PYTHONPATH": install(TO_RENEW, tmp_path / "previous"), "THUMBQ_RETRY_BASE": "0.1"}
    async with AsyncExitStack() as stack:
        log = stack.enter_context((tmp_path / "servers.log").open("wb"))
        before = await stack.enter_async_context(server(empty_database_url, old_port, log, **previous))
        connection = await asyncpg.connect(empty_database_url)
        stack.push_async_callback(connection.close)
        assert await revision(connection) == "0005"
        load = Load(stack)
        await load.work_at(old)
        await load.enqueue_at(old, 1)
        # The new one renews the tables under the work of the old one.
        renewing = asyncio.create_task(load.enqueue_at(old, 1001))
        await stack.enter_async_context(server(empty_database_url, new_port, log, THUMBQ_RETRY_BASE="0.1"))
        await renewing
        assert await revision(connection) > "0005"
        await load.work_at(new)
        await asyncio.gather(load.enqueue_at(old, 2001), load.enqueue_at(new, 3001))
        await load.work_at(f"ipv4:{old},{new}")
        before.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(before.wait(), 120) == 0
        await load.enqueue_at(new, 4001)

        async def all_done():
            query = "SELECT count(*) FROM job_states WHERE status = 'Completed'"
            return await connection.fetchval(query) == 5 * JOBS

        await eventually(all_done, timeout=240)
        assert sorted(set(load.handled)) == [
            model for first in (1, 1001, 2001, 3001, 4001) for model in range(first, first + JOBS)
        ]
        await load.end()


async def test_code_goes_back_by_a_release_and_forth_again_while_the_tables_stay(empty_database_url, tmp_path):
    port = free_port()
    before = {"PYTHONPATH": install(TO_GO_BACK_TO, tmp_path / "before")}
    async with AsyncExitStack() as stack:
        log = stack.enter_context((tmp_path / "servers.log").open("wb"))
        connection = await asyncpg.connect(empty_database_url)
        stack.push_async_callback(connection.close)
        tables = set()
        for number, variables in enumerate(({}, before, {}), 1):
            async with server(empty_database_url, port, log, **variables) as process:
                # Each completes a job that the release before it took in; the last one leaves none.
                await enqueue(f"127.0.0.1:{port}", number)
                if number > 1:
                    assert await complete_one(f"127.0.0.1:{port}") == number - 1
                tables.add(await revision(connection))
                process.send_signal(signal.SIGTERM)
                assert await asyncio.wait_for(process.wait(), 120) == 0
        assert len(tables) == 1
        statuses = await connection.fetch("SELECT status FROM job_states ORDER BY model_id")
        assert [status for (status,) in statuses] == ["Completed", "Completed", "Pending"]


async def enqueue(address, model):
    async with Producer(address, timeout=300) as producer:
        await producer.enqueue([NewJob(model_id=model, model_hash=HASH)])


async def complete_one(address):
    """Complete the oldest job, and return its model."""
    done = asyncio.get_running_loop().create_future()

    async def handle(job: Job) -> Thumbnail:
        worker.stop()
        if not done.done():
            done.set_result(job.model_id)
        return Thumbnail(path="/a", size_bytes=1, width=1, height=1)

    async with Worker(address, worker_id="one", concurrency=1) as worker:
        await asyncio.wait_for(worker.run(handle, handle_signals=False), 240)
    return await done


async def revision(connection):
    return await connection.fetchval("SELECT version_num FROM thumbq_version")
