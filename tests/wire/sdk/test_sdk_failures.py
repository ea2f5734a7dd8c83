"""Whatever a handler raises, its job ends, and the worker goes on with the next one."""

import asyncio
import sys

import pytest

from tests.support.service.server import running_server
from tests.wire.sdk.process_handlers import fails_in_its_own_way, fails_in_its_own_way_async
from tests.wire.sdk.sdk import connected, enqueue, reached
from thumbq import Worker
from thumbq.working.handler import Handler

WAYS: dict[str, tuple[Handler, bool]] = {
    "on the loop": (fails_in_its_own_way_async, False),
    "in a thread": (fails_in_its_own_way, False),
    "in a process": (fails_in_its_own_way, True),
}

INTERRUPTED = """
import asyncio, sys
from thumbq import Worker

async def handler(job):
    raise KeyboardInterrupt

async def main():
    async with Worker(sys.argv[1]) as worker:
        await worker.run(handler)

asyncio.run(main())
"""


@pytest.mark.parametrize("way", WAYS)
async def test_a_job_whose_handler_raises_anything_ends_as_a_dead_letter(database_url: str, way: str):
    handler, processes = WAYS[way]
    async with (
        running_server(database_url, retry_base=0.05) as server,
        connected(database_url) as database,
        Worker(server, concurrency=1) as worker,
        asyncio.TaskGroup() as group,
    ):
        await enqueue(server, 3, max_attempts=2)
        group.create_task(worker.run(handler, processes=processes, handle_signals=False))
        # A process may take seconds to start on a busy machine.
        await reached(database, 120, Completed=1, Failed=2)
        worker.stop()
        own, other = await database.fetch("SELECT * FROM job_states WHERE status = 'Failed' ORDER BY model_id")
    assert (own["error_message"], own["attempt_count"]) == ("model 1 has no leg", 1)
    assert "Unreadable, whose text cannot be read: it raises LookupError" in other["error_message"]
    assert other["attempt_count"] == 2


async def test_a_job_that_interrupts_each_of_its_workers_ends_as_a_dead_letter(database_url: str):
    async with running_server(database_url, retry_base=0.05) as server, connected(database_url) as database:
        await enqueue(server, 1, max_attempts=2)
        for _ in range(2):
            worker = await asyncio.create_subprocess_exec(
                sys.executable, "-c", INTERRUPTED, server, stderr=asyncio.subprocess.DEVNULL
            )
            async with asyncio.timeout(60):
                assert await worker.wait()
        await reached(database, Failed=1)
        (job,) = await database.fetch("SELECT * FROM job_states")
    assert (job["error_message"], job["attempt_count"]) == ("KeyboardInterrupt", 2)
