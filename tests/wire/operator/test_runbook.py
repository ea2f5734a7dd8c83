"""Each situation of docs/runbook.md is staged, found and mended, with the commands that stand there."""

import asyncio
import hashlib
import json
import os
import signal
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg
import grpc
import pytest

from tests.processes import descendants
from tests.support.service.server import running_server
from tests.support.waiting import eventually
from tests.wire.operator.transcripts import RUNBOOK, Transcript, steps
from thumbq import Job, JobFailed, JobStatus, NewJob, Producer, Thumbnail, Worker
from thumbq.v1.admin_pb2 import ListWorkersRequest
from thumbq.v1.admin_pb2_grpc import AdminServiceStub
from thumbq_launcher.postgres.embedded import EmbeddedPostgres

pytestmark = pytest.mark.timeout(400)
HASH = hashlib.sha256(b"model").hexdigest()
PICTURE = Thumbnail("/thumbnails/1.webp", 1234, 512, 512)
PATIENCE = 120.0


async def enqueue(server: str, *models: int, **fields: Any) -> None:
    """Enqueue a job for each model: their ids count from 1."""
    async with Producer(server) as producer:
        await producer.enqueue(NewJob(model_id=model, model_hash=HASH, **fields) for model in models)


async def completes(_job: Job) -> Thumbnail:
    return PICTURE


@asynccontextmanager
async def working(server: str, name: str, handler: Any = completes, **labels: str) -> AsyncIterator[None]:
    """Run a worker with one slot until the block ends."""
    async with (
        asyncio.TaskGroup() as group,
        Worker(server, worker_id=name, concurrency=1, labels=labels, grace=0.1) as worker,
    ):
        group.create_task(worker.run(handler, handle_signals=False))
        yield
        worker.stop()


async def status_is(server: str, job_id: int, status: str) -> None:
    async with Producer(server) as producer:

        async def is_it() -> bool:
            return (await producer.get(job_id)).status == JobStatus.Value(f"JOB_STATUS_{status.upper()}")

        await eventually(is_it, timeout=PATIENCE)


async def has_failed(server: str, job_id: int) -> None:
    async with Producer(server) as producer:

        async def has_it() -> bool:
            job = await producer.get(job_id)
            return job.status == JobStatus.JOB_STATUS_PENDING and job.attempt_count == 1

        await eventually(has_it, timeout=PATIENCE)


async def workers_are(server: str, count: int) -> None:
    async with grpc.aio.insecure_channel(server) as channel:
        admin = AdminServiceStub(channel)

        async def are_they() -> bool:
            return len((await admin.ListWorkers(ListWorkersRequest())).workers) == count

        await eventually(are_they, timeout=PATIENCE)


async def test_no_worker(server):
    night = Transcript("No worker", server)
    await enqueue(server, 7)
    await night.types(2)
    async with working(server, "ok-1"):
        await status_is(server, 1, "Completed")
    await night.types()
    night.ends()


async def test_a_paused_queue(server):
    night = Transcript("A paused queue", server)
    await night.types()
    await enqueue(server, 8)
    await night.types(2)
    async with working(server, "ok-1"):
        await status_is(server, 1, "Completed")
    await night.types()
    night.ends()


async def test_a_model_that_always_fails(server):
    async def draws(job: Job) -> Thumbnail:
        if job.model_id == 13:
            raise JobFailed("mesh 4 has no triangles", retryable=False)
        return PICTURE

    night = Transcript("A model that always fails", server)
    await enqueue(server, 11, 12, 13, 14)
    async with working(server, "ok-1", draws):
        for job_id, status in enumerate(("Completed", "Completed", "Failed", "Completed"), 1):
            await status_is(server, job_id, status)
        await night.types()
    await night.types()
    night.ends()


async def test_a_worker_that_hangs(server):
    is_told = asyncio.Event()

    async def hangs(_job: Job) -> Thumbnail:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            is_told.set()
            raise
        return PICTURE

    night = Transcript("A worker that hangs", server)
    await enqueue(server, 14)
    async with working(server, "slow-1", hangs):
        await status_is(server, 1, "Processing")
        await night.types(3)
        async with asyncio.timeout(PATIENCE):
            await is_told.wait()
    night.ends()


async def test_one_worker_fails_everything(server):
    async def fails(_job: Job) -> Thumbnail:
        raise JobFailed("EGL: no display", retryable=False)

    night = Transcript("One worker fails everything", server)
    await enqueue(server, 15)
    async with working(server, "new-1", fails, build="42"):
        await status_is(server, 1, "Failed")
        async with working(server, "old-1", build="41"):
            await workers_are(server, 2)
            await night.types()
            await eventually(night.sees, timeout=PATIENCE)  # the latest heartbeat stands first, and either may have it
    async with working(server, "old-1", build="41"):
        await night.types()
        await status_is(server, 1, "Completed")
        await night.types()
    night.ends()


async def test_a_flood_of_one_client(server):
    night = Transcript("A flood of one client", server)
    await enqueue(server, *range(1, 2008))
    await night.types(3)
    night.ends()


async def test_a_storm_of_retries(database_url):
    async def fails(_job: Job) -> Thumbnail:
        raise JobFailed("the share is away")

    async with running_server(database_url, retry_base=3600.0, retry_cap=7200.0) as server:
        night = Transcript("A storm of retries", server)
        await enqueue(server, 21, 22, 23)
        async with working(server, "ok-1", fails):
            for job_id in (1, 2, 3):
                await has_failed(server, job_id)
            await night.types(2)
        async with working(server, "ok-1"):
            await night.types()
            for job_id in (1, 2, 3):
                await status_is(server, job_id, "Completed")
        night.ends()


async def test_the_database_is_away(tmp_path):
    with (database := EmbeddedPostgres(tmp_path / "postgres")) as dsn:
        assert database.process
        with Stopped(database.process.pid) as postgres:
            async with running_server(dsn) as server:
                night = Transcript("The database is away", server)
                postgres.stop()
                await eventually(night.sees, timeout=PATIENCE)
                await night.types()
                postgres.go_on()
                await eventually(night.sees, timeout=PATIENCE)
                night.ends()


class Stopped:
    """The processes of a PostgreSQL, which can be stopped as if their machine stood still."""

    def __init__(self, first: int) -> None:
        self._first = first
        self._all: set[int] = set()

    def __enter__(self) -> "Stopped":
        return self

    def __exit__(self, *_error: object) -> None:
        self.go_on()

    def stop(self) -> None:
        os.kill(self._first, signal.SIGSTOP)  # it starts no other process from here on
        self._all = {self._first, *descendants(self._first)}
        for process in self._all:
            os.kill(process, signal.SIGSTOP)

    def go_on(self) -> None:
        for process in self._all:
            os.kill(process, signal.SIGCONT)
        self._all = set()


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 400 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=400m", "tmpfs", folder], check=True)
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


@pytest.mark.small_disk
async def test_the_disk_of_the_database_is_full(disk, tmp_path, monkeypatch):
    lines = (json.dumps({"modelId": model, "modelHash": HASH}) for model in range(1, 20_001))
    (tmp_path / "models.jsonl").write_text("\n".join(lines))
    monkeypatch.chdir(tmp_path)
    folder: dict[str, str] = {"THUMBQ_DATA_DIR": str(disk / "data")}
    with EmbeddedPostgres(disk / "data") as dsn:
        async with running_server(dsn) as server:
            night = Transcript("The disk of the database is full", server)
            ballast = disk / "ballast"
            with ballast.open("wb") as file:
                room = os.statvfs(disk)
                os.posix_fallocate(file.fileno(), 0, room.f_bavail * room.f_frsize)
            await night.types()
            await eventually(night.sees, timeout=PATIENCE)
            await night.types(1, **folder)
            ballast.unlink()
            await eventually(night.sees, timeout=PATIENCE)
            await night.types()
            night.ends()


async def test_a_clock_is_wrong(database_url):
    connection = await asyncpg.connect(database_url)
    name = await connection.fetchval("SELECT current_database()")
    end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1 AND pid <> pg_backend_pid()"
    await connection.execute(f"""
        CREATE SCHEMA wrong;
        CREATE FUNCTION wrong.now() RETURNS timestamptz LANGUAGE sql STABLE RETURN pg_catalog.now() + interval '1 hour';
        ALTER DATABASE {name} SET search_path = wrong, pg_catalog, public
    """)
    async with running_server(database_url) as server:
        night = Transcript("A clock is wrong", server)
        await night.types()
        await enqueue(server, 7)
        await connection.execute(f"ALTER DATABASE {name} RESET search_path")
        await connection.fetch(end, name)
        await eventually(night.sees, timeout=PATIENCE)
        await night.types(4)
        night.ends()
    await connection.close()


def test_every_situation_is_staged():
    headings = RUNBOOK.read_text().partition("\n## Situations\n")[2].split("\n### ")[1:]
    titles = [heading.partition("\n")[0] for heading in headings]
    assert len(titles) == 10
    here = Path(__file__).read_text()
    assert [title for title in titles if f"def test_{title.lower().replace(' ', '_')}(" not in here] == []
    assert all(steps(title) for title in titles)
