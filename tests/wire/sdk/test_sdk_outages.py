"""The SDK's worker while servers, connections and workers fail."""

import asyncio
import json
import logging
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from functools import partial

import asyncpg
import pytest

from tests.support.postgres.databases import for_programs
from tests.support.service.server import running_server
from tests.support.waiting import eventually
from tests.wire.sdk.sdk import PICTURE, Gate, confirmed, connected, enqueue, reached, statuses, until, working
from thumbq import Job, Thumbnail
from thumbq.working import confirmations

WORKER = """
import asyncio, sys
from thumbq import Thumbnail, Worker

async def handler(job):
    print("begun", job.id, flush=True)
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    await reader.readline()
    return Thumbnail("/thumbnails/a.png", 1, 1, 1)

async def main():
    async with Worker(sys.argv[1], concurrency=1, prefetch=1) as worker:
        await worker.run(handler)

asyncio.run(main())
"""

LONG = 600  # seconds of a lease that outlasts an outage, however long a busy machine takes to start a server


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[asyncpg.Connection]:
    async with connected(database_url) as connection:
        yield connection


@pytest.fixture
async def processes() -> AsyncIterator[AsyncExitStack]:
    """A stack of processes that end with the test."""
    async with AsyncExitStack() as stack:
        yield stack


async def end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        process.kill()
    await process.wait()


async def serve(stack: AsyncExitStack, database_url: str, port: int, lease: int = LONG) -> asyncio.subprocess.Process:
    """Start a server in a process of its own, and wait until it is ready."""
    readable, writable = os.pipe()
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "thumbq_server",
        env=os.environ
        | {
            **for_programs(database_url),
            "THUMBQ_GRPC_PORT": str(port),
            "THUMBQ_READY_FD": str(writable),
            "THUMBQ_HEARTBEAT_INTERVAL": "0.5",
            "THUMBQ_RETRY_BASE": "0.1",
            "THUMBQ_LEASE_DURATION": str(lease),
        },
        pass_fds=[writable],
        stderr=asyncio.subprocess.DEVNULL,
    )
    stack.push_async_callback(end, process)
    os.close(writable)
    assert json.loads(await asyncio.to_thread(os.read, readable, 100))["port"] == port
    os.close(readable)
    return process


async def start_worker(stack: AsyncExitStack, server: str) -> asyncio.subprocess.Process:
    """Start a worker in a process of its own; it holds its job until it is sent a line."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", WORKER, server, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    stack.push_async_callback(end, process)
    assert process.stdout
    assert (await process.stdout.readline()).startswith(b"begun")
    return process


async def test_jobs_are_resumed_when_the_server_restarts_in_order(
    database_url: str, database: asyncpg.Connection, unused_tcp_port: int, caplog: pytest.LogCaptureFixture
):
    address, gate = f"127.0.0.1:{unused_tcp_port}", Gate()
    async with AsyncExitStack() as worker:
        async with running_server(database_url, grpc_port=unused_tcp_port, lease_duration=LONG):
            await enqueue(address, 30)
            await worker.enter_async_context(working(address, gate, concurrency=20, prefetch=10))
            await gate.begun(20)
            await confirmed(database, 30)  # a server that stops takes back what has not been confirmed
        assert await statuses(database) == {"Processing": 30}
        async with running_server(database_url, grpc_port=unused_tcp_port, lease_duration=LONG):
            gate.open.set()
            await reached(database, Completed=30)
            await worker.aclose()
    assert set(gate.runs.values()) == {1}
    assert gate.cancelled == 0
    assert await database.fetchval("SELECT max(attempt_count) FROM job_states") == 1


async def test_jobs_that_have_just_come_are_confirmed_before_the_worker_leaves_a_server_that_stops(
    database_url: str, database: asyncpg.Connection, unused_tcp_port: int, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(confirmations, "_CONFIRM_AFTER", 600.0)
    address, gate = f"127.0.0.1:{unused_tcp_port}", Gate()
    async with AsyncExitStack() as worker:
        async with running_server(database_url, grpc_port=unused_tcp_port, heartbeat_interval=600, lease_duration=LONG):
            await enqueue(address, 30)
            await worker.enter_async_context(working(address, gate, concurrency=20, prefetch=10))
            await gate.begun(20)
            await reached(database, Processing=30)
        assert await statuses(database) == {"Processing": 30}
        async with running_server(database_url, grpc_port=unused_tcp_port, lease_duration=LONG):
            gate.open.set()
            await reached(database, Completed=30)
            await worker.aclose()
    assert set(gate.runs.values()) == {1}


async def test_results_found_while_the_server_was_killed_arrive_when_it_is_back(
    database_url: str, database: asyncpg.Connection, unused_tcp_port: int, processes: AsyncExitStack
):
    address, gate = f"127.0.0.1:{unused_tcp_port}", Gate()
    server = await serve(processes, database_url, unused_tcp_port)
    await enqueue(address, 30)
    async with working(address, gate, concurrency=20):
        await gate.begun(20)
        await confirmed(database, 20)
        server.kill()
        await server.wait()
        gate.open.set()
        await until(lambda: gate.running == 0)
        assert await statuses(database) == {"Processing": 20, "Pending": 10}

        await serve(processes, database_url, unused_tcp_port)

        await reached(database, Completed=30)
    assert set(gate.runs.values()) == {1}
    assert await database.fetchval("SELECT max(attempt_count) FROM job_states") == 1


def at_least(items: list[int], count: int) -> bool:
    return len(items) >= count


async def test_nothing_is_lost_while_servers_are_killed_again_and_again(
    database_url: str, database: asyncpg.Connection, unused_tcp_port: int, processes: AsyncExitStack
):
    address = f"127.0.0.1:{unused_tcp_port}"
    server = await serve(processes, database_url, unused_tcp_port, lease=30)
    await enqueue(address, 2000, max_attempts=10)
    done: list[int] = []

    async def handler(job: Job) -> Thumbnail:
        await asyncio.sleep(0.02)
        done.append(job.id)
        return PICTURE

    async with working(address, handler, concurrency=50, prefetch=50):
        for part in (500, 1000):
            await until(partial(at_least, done, part))
            server.kill()
            await server.wait()
            server = await serve(processes, database_url, unused_tcp_port, lease=30)
        await reached(database, Completed=2000)


async def test_a_server_that_sends_nothing_for_three_heartbeats_counts_as_dead(
    database_url: str,
    database: asyncpg.Connection,
    unused_tcp_port: int,
    processes: AsyncExitStack,
    caplog: pytest.LogCaptureFixture,
):
    address, gate = f"127.0.0.1:{unused_tcp_port}", Gate()
    server = await serve(processes, database_url, unused_tcp_port)
    await enqueue(address, 1)

    async def is_away() -> bool:
        expected = f"{address} is away (it says nothing); trying again until it is back"
        return any(record.getMessage() == expected for record in caplog.records if record.name == "thumbq")

    with caplog.at_level(logging.WARNING, "thumbq"):
        async with working(address, gate):
            await gate.begun(1)
            await confirmed(database, 1)
            caplog.clear()
            server.send_signal(signal.SIGSTOP)
            gate.open.set()
            await eventually(is_away)
            server.send_signal(signal.SIGCONT)
            await reached(database, Completed=1)
    assert gate.runs.total() == 1


async def test_sigterm_finishes_the_running_job_and_releases_the_next(
    server: str, database: asyncpg.Connection, processes: AsyncExitStack
):
    await enqueue(server, 2)
    worker = await start_worker(processes, server)
    await reached(database, Processing=2)

    worker.send_signal(signal.SIGTERM)
    await reached(database, Processing=1, Pending=1)
    assert worker.stdin
    worker.stdin.write(b"go on\n")

    assert await asyncio.wait_for(worker.wait(), 30) == 0
    assert await statuses(database) == {"Completed": 1, "Pending": 1}
    assert await database.fetchval("SELECT attempt_count FROM job_states WHERE status = 'Pending'") == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_second_signal_ends_the_worker_at_once_and_its_job_is_released(
    server: str, database: asyncpg.Connection, processes: AsyncExitStack, number: int
):
    await enqueue(server, 2)
    worker = await start_worker(processes, server)
    await reached(database, Processing=2)
    worker.send_signal(number)
    await reached(database, Processing=1, Pending=1)

    worker.send_signal(number)

    assert await asyncio.wait_for(worker.wait(), 30) == 0
    assert await statuses(database) == {"Pending": 2}


async def test_leases_lost_or_gained_during_an_outage_are_corrected_on_resuming(
    database_url: str, database: asyncpg.Connection, unused_tcp_port: int
):
    address, gate = f"127.0.0.1:{unused_tcp_port}", Gate()
    async with AsyncExitStack() as worker:
        async with running_server(database_url, grpc_port=unused_tcp_port, lease_duration=LONG):
            lost, kept, gained = await enqueue(address, 3)
            await worker.enter_async_context(working(address, gate, concurrency=2))
            await gate.begun(2)
            await confirmed(database, 2)
        await database.execute(
            """INSERT INTO leases (job_id, lease_seq, model_id, session, attempt, claimed_at, expires_at)
               SELECT r.job_id, nextval('claim_seq'), r.model_id, l.session, 1, now(), now() + interval '1 hour'
                 FROM ready r, leases l WHERE l.job_id = $1""",
            lost,
        )
        await database.execute("DELETE FROM ready")
        await database.execute(
            "UPDATE leases SET lease_seq = nextval('claim_seq'), session = 0 WHERE job_id = $1", lost
        )
        # The Welcome must report it: no heartbeat comes in time.
        async with running_server(database_url, grpc_port=unused_tcp_port, heartbeat_interval=600, lease_duration=LONG):
            await gate.was_cancelled(1)
            await gate.begun(3)
            gate.open.set()
            await reached(database, Completed=2, Processing=1)
            await worker.aclose()
    assert gate.runs == {lost: 1, kept: 1, gained: 1}
    assert await database.fetchval("SELECT attempt_count FROM job_states WHERE id = $1", gained) == 1
