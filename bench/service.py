"""A PostgreSQL and, on it, a fresh server for each run: real processes, fsync on."""

import asyncio
import json
import os
import signal
import sys
import tempfile
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import psutil

from thumbq_server.storage.embedded import EmbeddedPostgres

CPU_OF = ("postgres", "server", "gateway", "worker")


class Service:
    """What one run talks to."""

    def __init__(self, dsn: str, server: asyncio.subprocess.Process, address: str) -> None:
        self.dsn = dsn
        self.address = address
        self._server = server

    async def settle(self) -> None:
        """Statistics and checkpoint, so that one run's writes are not paid for by the next."""
        await self.execute("VACUUM ANALYZE")
        await self.execute("CHECKPOINT")

    async def execute(self, statement: str) -> None:
        """Run a statement beside the service."""
        connection = await asyncpg.connect(self.dsn)
        try:
            await connection.execute(statement)
        finally:
            await connection.close()

    async def value(self, query: str) -> int:
        """One number from the database."""
        connection = await asyncpg.connect(self.dsn)
        try:
            return int(await connection.fetchval(query))
        finally:
            await connection.close()

    def cpu(self) -> dict[str, float]:
        """Seconds of CPU used so far by PostgreSQL and by the server."""
        return {"postgres": _cpu_of_postgres(), "server": _cpu(psutil.Process(self._server.pid))}


@contextmanager
def postgres() -> Iterator[str]:
    """The DSN of an embedded PostgreSQL in a folder that is gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="thumbq-bench-") as folder, EmbeddedPostgres(Path(folder)) as dsn:
        yield dsn


@asynccontextmanager
async def service(postgres_dsn: str) -> AsyncIterator[Service]:
    """A server on a database of its own."""
    name = f"bench_{uuid.uuid4().hex[:8]}"
    await _execute(postgres_dsn, f"CREATE DATABASE {name}")
    dsn = urlunsplit(urlsplit(postgres_dsn)._replace(path=f"/{name}"))
    server, port = await start("thumbq_server", {"DATABASE_URL": dsn, "THUMBQ_GRPC_PORT": "0"})
    try:
        yield Service(dsn, server, f"127.0.0.1:{port}")
    finally:
        await stop(server)
        await _execute(postgres_dsn, f"DROP DATABASE {name} WITH (FORCE)")


@asynccontextmanager
async def gateway(server: str) -> AsyncIterator[str]:
    """The address of a gateway in front of `server`."""
    process, port = await start("thumbq_gateway", {"THUMBQ_SERVER": server, "THUMBQ_HTTP_PORT": "0"})
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        await stop(process)


async def start(module: str, environment: dict[str, str]) -> tuple[asyncio.subprocess.Process, int]:
    """A role of thumbq as a process of its own, and the port on which it answers."""
    readable, writable = os.pipe()
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        module,
        env={**os.environ, **environment, "THUMBQ_READY_FD": str(writable)},
        pass_fds=(writable,),
        stderr=asyncio.subprocess.DEVNULL,
    )
    os.close(writable)
    line = await asyncio.to_thread(os.read, readable, 100)
    os.close(readable)
    if not line:
        raise RuntimeError(f"{module} did not start")
    return process, json.loads(line)["port"]


async def stop(process: asyncio.subprocess.Process) -> None:
    """End a process, in order if it can."""
    if process.returncode is None:
        process.send_signal(signal.SIGTERM)
    try:
        await asyncio.wait_for(process.wait(), 20)
    except TimeoutError:
        process.kill()
        await process.wait()


async def _execute(dsn: str, statement: str) -> None:
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


def _cpu(process: psutil.Process) -> float:
    times = process.cpu_times()
    return times.user + times.system


def _cpu_of_postgres() -> float:
    """All of it, with the connections that have ended: those count with the postmaster's children."""
    total = 0.0
    for child in psutil.Process().children(recursive=True):
        try:
            if child.name().startswith("postgres"):
                times = child.cpu_times()
                total += times.user + times.system + times.children_user + times.children_system
        except psutil.NoSuchProcess:
            continue
    return total
