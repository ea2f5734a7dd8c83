"""The SDK's worker with handlers that block: each job is rendered once, and one that never returns ends."""

import asyncio
import os
import signal
import sys
import threading
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import asyncpg
import pytest

from tests.support.service.server import running_server
from tests.support.waiting import eventually
from tests.wire.sdk.process_handlers import pid_as_width, pid_as_width_async
from tests.wire.sdk.sdk import PICTURE, connected, enqueue, reached, statuses, working
from thumbq import Job, JobFailed, Thumbnail, Worker

PROGRAM = Path(__file__).with_name("blocking_worker.py")
# A worker that says nothing is given up after 1.5 s, and a delivered job is leased for 6 s.
QUICK = {"heartbeat_interval": 0.5, "delivery_lease_duration": 6, "lease_duration": 6, "retry_base": 0.05}

Start = Callable[..., Awaitable[asyncio.subprocess.Process]]


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[asyncpg.Connection]:
    async with connected(database_url) as connection:
        yield connection


@pytest.fixture
async def server(database_url: str) -> AsyncIterator[str]:
    async with running_server(database_url, **QUICK) as address:
        yield address


@pytest.fixture
async def start(server: str, tmp_path: Path) -> AsyncIterator[Start]:
    """Start a worker of blocking_worker.py, which ends with the test; its log goes into a file."""
    async with AsyncExitStack() as stack:

        async def start(way: str, *, seconds: float = 0, time_limit: float = 3600) -> asyncio.subprocess.Process:
            with (tmp_path / "log").open("a") as log:
                process = await asyncio.create_subprocess_exec(
                    sys.executable,
                    str(PROGRAM),
                    server,
                    way,
                    str(seconds),
                    str(time_limit),
                    stdout=asyncio.subprocess.PIPE,
                    stderr=log,
                )
            stack.push_async_callback(kill, process)
            return process

        yield start


async def kill(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        process.kill()
    await process.wait()


async def rendered(process: asyncio.subprocess.Process) -> Counter[str]:
    """Return how often each job's handler began, once the worker has ended."""
    output, _ = await process.communicate()
    return Counter(output.decode().split())


async def begun(process: asyncio.subprocess.Process) -> str:
    assert process.stdout
    async with asyncio.timeout(30):
        return (await process.stdout.readline()).decode().strip()


async def error_of(database: asyncpg.Connection) -> str:
    message: str = await database.fetchval("SELECT error_message FROM job_states")
    return message


@pytest.mark.parametrize(
    ("jobs", "seconds"),
    [
        pytest.param(2, 8, id="longer than the server's patience and the lease"),
        pytest.param(8, 2, id="together longer than both"),
    ],
)
async def test_each_job_is_rendered_once_although_its_handler_blocks_the_loop(
    server: str, database: asyncpg.Connection, start: Start, jobs: int, seconds: float
):
    workers = [await start("sleeps", seconds=seconds) for _ in range(2)]
    ids = await enqueue(server, jobs)
    await reached(database, Completed=jobs)
    for worker in workers:
        worker.send_signal(signal.SIGTERM)
    first, second = [await rendered(worker) for worker in workers]
    assert first + second == Counter(map(str, ids))
    assert await database.fetchval("SELECT max(attempt_count) FROM job_states") == 1


@pytest.mark.parametrize("way", ["hangs", "hangs_after_a_wait"])
async def test_a_handler_that_never_returns_costs_an_attempt_of_each_worker_and_the_last_says_where_it_hangs(
    server: str, database: asyncpg.Connection, start: Start, tmp_path: Path, way: str
):
    (job_id,) = await enqueue(server, 1, max_attempts=2)
    workers = [await start(way, time_limit=0.5) for _ in range(2)]
    await reached(database, Failed=1)
    message = await error_of(database)
    assert message.startswith("The handler has blocked its worker's event loop for 0.5 s, at blocking_worker.py:")
    assert message.endswith(", in hangs")
    for worker in workers:
        worker.kill()
    assert [await rendered(worker) for worker in workers] == [Counter([str(job_id)])] * 2
    log = (tmp_path / "log").read_text()
    assert f"The handler of job {job_id} (model 1) has blocked the event loop for" in log
    assert "in hangs\n    threading.Event().wait()" in log


async def test_a_worker_that_hangs_gives_back_what_waits_behind_and_takes_no_more(
    server: str, database: asyncpg.Connection, start: Start
):
    worker = await start("hangs", time_limit=0.5)
    await enqueue(server, 3, max_attempts=1)
    await reached(database, Failed=1, Pending=2)
    async with working(server, lambda _: PICTURE):
        await reached(database, Failed=1, Completed=2)
    worker.kill()
    assert (await rendered(worker)).total() == 1


@pytest.mark.parametrize("way", ["hangs_in_a_thread", "hangs_in_a_process"])
async def test_a_thread_and_a_process_that_never_return_cost_an_attempt(
    server: str, database: asyncpg.Connection, start: Start, way: str
):
    await enqueue(server, 1, max_attempts=1)
    worker = await start(way, time_limit=0.5)
    await reached(database, Failed=1)
    assert await error_of(database) == "The handler took longer than 0.5 s"
    worker.send_signal(signal.SIGTERM)
    async with asyncio.timeout(30):
        await worker.wait()


async def test_a_thread_learns_that_its_job_is_cancelled(server: str, database: asyncpg.Connection, start: Start):
    await enqueue(server, 1)
    worker = await start("asks_in_a_thread")
    await begun(worker)
    await database.execute("UPDATE leases SET lease_seq = lease_seq + 1, session = 0")  # as if another worker had it
    assert await begun(worker) == "told"


async def test_a_job_whose_thread_does_not_end_goes_back_when_the_worker_stops(
    server: str, database: asyncpg.Connection, start: Start
):
    await enqueue(server, 1)
    worker = await start("hangs_in_a_thread")
    await begun(worker)
    worker.send_signal(signal.SIGTERM)
    async with asyncio.timeout(30):
        await worker.wait()
    assert await statuses(database) == {"Pending": 1}
    assert await database.fetchval("SELECT max(attempt_count) FROM job_states") == 0


async def test_functions_run_in_as_many_threads_as_there_are_slots(server: str, database: asyncpg.Connection):
    together = threading.Barrier(4, timeout=60)
    outlived = threading.Event()

    def handler(job: Job) -> Thumbnail:
        together.wait()
        if not outlived.wait(60):
            raise TimeoutError
        if job.model_id == 4:
            raise JobFailed("not a model", retryable=False)
        return PICTURE

    await enqueue(server, 4)
    async with working(server, handler, concurrency=4):

        async def all_leases_outlived() -> bool:
            query = "SELECT count(*) FROM leases WHERE expires_at > claimed_at + interval '6.5 s'"
            return bool(await database.fetchval(query) == 4)

        await eventually(all_leases_outlived)
        outlived.set()
        await reached(database, Completed=3, Failed=1)


@pytest.mark.parametrize("handler", [pid_as_width, pid_as_width_async])
async def test_processes_take_handlers_by_one_argument(
    server: str, database: asyncpg.Connection, handler: Callable[[Job], Thumbnail]
):
    await enqueue(server, 4, max_attempts=1)
    async with Worker(server, concurrency=1) as worker, asyncio.TaskGroup() as group:
        group.create_task(worker.run(handler, processes=True, handle_signals=False))
        # Two processes start, which takes seconds on a busy machine.
        await reached(database, 50, Completed=2, Failed=2)
        worker.stop()
    errors = await database.fetch("SELECT error_message FROM job_states WHERE status = 'Failed' ORDER BY model_id")
    assert [row["error_message"] for row in errors] == [
        "ValueError: no model",
        "The handler's process ended: killed by signal SIGSEGV",
    ]
    pids = await database.fetch("SELECT DISTINCT width FROM attempts WHERE width IS NOT NULL")
    assert len(pids) == 2
    assert os.getpid() not in {row["width"] for row in pids}


async def test_a_handler_that_a_process_cannot_have_is_refused_at_once(server: str):
    async with Worker(server) as worker:
        with pytest.raises(TypeError, match="function of a module"):
            await worker.run(lambda _: PICTURE, processes=True)
