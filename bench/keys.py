"""What keys, rates and bounds cost: a service that asks for keys and counts its callers, and one that does neither.

python -m bench.keys [--jobs 5000] [--rounds 5]; both take turns, each on a database of its own.
"""

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import NamedTuple

import aiohttp
import asyncpg
import grpc
import psutil
import uvloop

from bench.running import service
from bench.tls import call_one_by_one, drain
from thumbq.v1.admin_pb2 import ROLE_ADMIN, CreateKeyRequest
from thumbq.v1.admin_pb2_grpc import AdminServiceStub
from thumbq_launcher.postgres.embedded import EmbeddedPostgres

_ROUNDS_OF_JSON = 300
_CALLS = 1_000
_SECRET = "s" * 40
_PICTURE = {"thumbnailPath": "/thumbnails/1.webp", "sizeBytes": 1234, "width": 512, "height": 512}
_UNLIMITED = {f"THUMBQ_RATE_OF_{name}": "0" for name in ("WORKER_POLLS", "POLLS", "ENQUEUES", "READS")}
_STRANGERS = {"THUMBQ_GATEWAYS": "192.0.2.1"}  # callers of this machine are counted, too


class Subject(NamedTuple):
    """A running service: its addresses and processes."""

    grpc: str
    http: str
    processes: list[psutil.Process]

    def cpu(self) -> float:
        """Return the seconds of CPU time that it has used."""
        return sum(sum(process.cpu_times()[:2]) for process in self.processes)


async def json_round(subject: Subject, count: int, first: int) -> None:
    """Enqueue, dequeue and complete jobs by JSON, one call after the other."""
    headers = {"X-Api-Key": os.environ["THUMBQ_API_KEY"]}
    async with aiohttp.ClientSession(f"http://{subject.http}", headers=headers, raise_for_status=True) as http:
        for number in range(count):
            await http.post("/api/thumbnail-jobs", json={"modelId": first + number, "modelHash": "2" * 64})
            answer = await http.post("/api/thumbnail-jobs/dequeue", json={"workerId": "json"})
            await http.post(f"/api/thumbnail-jobs/{(await answer.json())['id']}/complete", json=_PICTURE)


async def drain_round(subject: Subject, count: int, first: int) -> None:
    """Complete jobs on a stream."""
    await drain(subject.grpc, count, first)


async def call_round(subject: Subject, count: int, first: int) -> None:
    """Enqueue jobs with a call for each."""
    await call_one_by_one(subject.grpc, count, first)


async def measure(subjects: dict[str, Subject], jobs: int, rounds: int) -> None:
    """Print the CPU time for each job and the rate, of both in turns."""
    first = 1
    works = (("a job on a stream", drain_round, jobs), ("a call to enqueue", call_round, _CALLS))
    for what, work, count in (*works, ("a job by JSON", json_round, _ROUNDS_OF_JSON)):
        spent: dict[str, list[float]] = {name: [] for name in subjects}
        rates: dict[str, list[float]] = {name: [] for name in subjects}
        for number in range(rounds + 1):
            for name in list(subjects) if number % 2 else list(reversed(subjects)):
                before, began = subjects[name].cpu(), time.perf_counter()
                await work(subjects[name], count, first)
                if number:  # the first round warms up
                    spent[name].append(1e6 * (subjects[name].cpu() - before) / count)
                    rates[name].append(count / (time.perf_counter() - began))
            first += count
        for name in subjects:
            cost, rate = statistics.median(spent[name]), statistics.median(rates[name])
            print(f"{what}, {name}: {cost:.0f} µs of CPU, {rate:,.0f} a second", flush=True)


@asynccontextmanager
async def running(dsn: str, folder: Path, **variables: str) -> AsyncIterator[Subject]:
    """Run a server and a gateway on a database."""
    async with AsyncExitStack() as stack:
        os.environ.update(variables)
        server, address = await stack.enter_async_context(service.server(dsn, folder, **variables))
        gateway, http = await stack.enter_async_context(service.gateway(address, folder))
        for name in variables:
            del os.environ[name]
        yield Subject(address, http, [psutil.Process(server.pid), psutil.Process(gateway.pid)])


async def main() -> None:
    """Start what is measured."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=5_000)
    parser.add_argument("--rounds", type=int, default=5)
    wanted = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, EmbeddedPostgres(Path(name) / "postgres") as dsn:
        connection = await asyncpg.connect(dsn)
        await connection.execute("CREATE DATABASE open")
        await connection.close()
        head, _, query = dsn.partition("?")
        other = f"{head.rpartition('/')[0]}/open{'?' + query if query else ''}"
        for subject in ("guarded", "open"):
            (Path(name) / subject).mkdir()
        guarded = {"THUMBQ_GATEWAY_SECRET": _SECRET, **_STRANGERS}
        async with (
            running(dsn, Path(name) / "guarded", **guarded) as with_keys,
            running(other, Path(name) / "open", **_UNLIMITED) as without,
        ):
            async with grpc.aio.insecure_channel(with_keys.grpc) as channel:
                request = CreateKeyRequest(role=ROLE_ADMIN, name="bench")
                os.environ["THUMBQ_API_KEY"] = (await AdminServiceStub(channel).CreateKey(request)).secret
            await measure({"with keys and limits": with_keys, "without": without}, wanted.jobs, wanted.rounds)


if __name__ == "__main__":
    uvloop.run(main())
