"""thumbq's processes, started as `thumbq serve` starts them."""

import asyncio
import contextlib
import json
import os
import re
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

from bench.running import processes
from bench.running.processes import Failed, Process

_START_LIMIT = 120.0  # seconds
_PYTHON = [sys.executable, "-P", "-m"]


@contextlib.asynccontextmanager
async def server(dsn: str, logs: Path, **variables: str) -> AsyncIterator[tuple[Process, str]]:
    """Start a server on this database; yield its process and address."""
    environment = {"DATABASE_URL": dsn, "THUMBQ_GRPC_PORT": "0", **variables}
    async with _role("thumbq_server", logs / "server.log", environment) as (process, port):
        yield process, f"127.0.0.1:{port}"


@contextlib.asynccontextmanager
async def gateway(server_address: str, logs: Path, **variables: str) -> AsyncIterator[tuple[Process, str]]:
    """Start a gateway in front of this server; yield its process and address."""
    environment = {"THUMBQ_SERVER": server_address, "THUMBQ_HTTP_PORT": "0", **variables}
    async with _role("thumbq_gateway", logs / "gateway.log", environment) as (process, port):
        yield process, f"127.0.0.1:{port}"


@contextlib.asynccontextmanager
async def whole(dsn: str | None, logs: Path, count: int = 1) -> AsyncIterator[tuple[Process, str, str]]:
    """Start `thumbq serve` with `count` servers and gateways; yield its process and its addresses for gRPC and HTTP.

    Without a DSN it starts its own PostgreSQL.
    """
    command = [sys.executable, "-c", "from thumbq.cli import main; main()", "serve", "--grpc-port=0", "--http-port=0"]
    if count > 1:
        command += ["--processes", str(count)]
    environment = {"THUMBQ_DATA_DIR": str(logs / "serve"), "DATABASE_URL": dsn or "", "PYTHONUNBUFFERED": "1"}
    process = await processes.start(command, logs / "serve.log", environment, death_signal=signal.SIGTERM)
    try:
        async with asyncio.timeout(_START_LIMIT):
            grpc, http = await _addresses(process)
        yield process, grpc, http
    finally:
        await process.stop()


async def _addresses(process: Process) -> tuple[str, str]:
    output = b""
    while True:
        line = await process.line()
        output += line or process.log.read_bytes()
        grpc = re.search(rb"gRPC\s+(\S+:\d+)", output)
        http = re.search(rb"http://(\S+:\d+)/", output)
        if grpc and http:
            return grpc[1].decode(), http[1].decode()
        if not line:
            raise Failed(process.why_ended())


@contextlib.asynccontextmanager
async def _role(module: str, log: Path, environment: dict[str, str]) -> AsyncIterator[tuple[Process, int]]:
    readable, writable = os.pipe()
    with os.fdopen(readable, "rb") as answers:
        try:
            process = await processes.start(
                [*_PYTHON, module], log, {**environment, "THUMBQ_READY_FD": str(writable)}, pass_fds=(writable,)
            )
        finally:
            os.close(writable)
        try:
            async with asyncio.timeout(_START_LIMIT):
                line = await asyncio.to_thread(answers.readline)
            if not line:
                raise Failed(process.why_ended())
            yield process, int(json.loads(line)["port"])
        finally:
            await process.stop()
