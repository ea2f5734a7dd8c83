"""What keys, rates and bounds cost: a service that asks for keys and counts its callers, beside two that do neither.

python -m bench.studies.keys [--starts 5] [--rounds 12] [--only json]

All three take turns, each on a database of its own. The ratios are those of neighbours, medians of all rounds, with the
least and the most of the starts in brackets. Where two equal services differ as much, the measurement shows nothing.
"""

import argparse
import asyncio
import json
import os
import random
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import grpc
import uvloop

from bench.drivers.http_load import Connection
from bench.running import service
from bench.running.turns import Pairs, Subject, Work, summary, take_turns, timed
from thumbq import Job, NewJob, Producer, Thumbnail, Worker
from thumbq.v1.admin_pb2 import ROLE_ADMIN, CreateKeyRequest
from thumbq.v1.admin_pb2_grpc import AdminServiceStub
from thumbq_launcher.postgres.embedded import EmbeddedPostgres

_CONNECTIONS = 16
_PICTURE = Thumbnail("/thumbnails/1.webp", 1234, 512, 512)
_OUTCOME = b'{"thumbnailPath":"/thumbnails/1.webp","sizeBytes":1234,"width":512,"height":512}'
_UNLIMITED = {f"THUMBQ_RATE_OF_{name}": "0" for name in ("WORKER_POLLS", "POLLS", "ENQUEUES", "READS")}
_LIMITED = {"THUMBQ_GATEWAY_SECRET": "s" * 40, "THUMBQ_GATEWAYS": "192.0.2.1"}  # callers of this machine count, too


async def json_jobs(subject: Subject, count: int, first: int) -> float:
    """Enqueue, dequeue and complete each job by JSON, on some connections."""
    host, port = subject.http.rsplit(":", 1)
    key = f"X-Api-Key: {subject.key}\r\n".encode() if subject.key else b""
    loop = asyncio.get_running_loop()
    opened = [
        (await loop.create_connection(lambda: Connection(subject.http, key), host, int(port)))[1]
        for _ in range(_CONNECTIONS)
    ]
    numbers = iter(range(first, first + count))
    seconds = await timed(_all(_by_json(connection, numbers) for connection in opened), count)
    for connection in opened:
        connection.close()
    return seconds


async def _by_json(connection: Connection, numbers: Iterator[int]) -> None:
    for number in numbers:
        await connection.post("/api/thumbnail-jobs", b'{"modelId":%d,"modelHash":"%064x"}' % (number, number))
        _, job = await connection.post("/api/thumbnail-jobs/dequeue", b'{"workerId":"json"}')
        await connection.post(f"/api/thumbnail-jobs/{json.loads(job)['id']}/complete", _OUTCOME)


async def _all(work: Iterable[Awaitable[None]]) -> None:
    await asyncio.gather(*work)


async def drain(subject: Subject, count: int, first: int) -> float:
    """Enqueue jobs with one call, and complete them on a stream: from the first job to the last."""
    async with Producer(subject.grpc, api_key=subject.key) as producer:
        await producer.enqueue(_job(number) for number in range(first, first + count))
    async with _working(subject, 64) as handled:
        moments = [await handled.get() for _ in range(count)]
    return (moments[-1] - moments[0]) / count


async def enqueue(subject: Subject, count: int, first: int) -> float:
    """Enqueue jobs with a message for each, one after the other."""
    async with Producer(subject.grpc, api_key=subject.key) as producer:
        return await timed(_one_by_one(producer, count, first), count)


async def _one_by_one(producer: Producer, count: int, first: int) -> None:
    for number in range(first, first + count):
        await producer.enqueue_one(_job(number))


async def pick_up(subject: Subject, count: int, first: int) -> float:
    """Enqueue jobs for an idle worker, and return the median of their ways from the call to the handler."""
    waits = []
    async with Producer(subject.grpc, api_key=subject.key) as producer, _working(subject, 1) as handled:
        for number in range(first, first + count):
            began = time.perf_counter()
            await producer.enqueue_one(_job(number))
            waits.append(await handled.get() - began)
    return statistics.median(waits)


@asynccontextmanager
async def _working(subject: Subject, jobs: int) -> AsyncIterator["asyncio.Queue[float]"]:
    """Have a worker that handles this number of jobs at a time; yield the moments at which it got them."""
    handled: asyncio.Queue[float] = asyncio.Queue()

    async def handle(_job: Job) -> Thumbnail:
        handled.put_nowait(time.perf_counter())
        return _PICTURE

    worker = Worker(subject.grpc, concurrency=jobs, prefetch=jobs, api_key=subject.key)
    async with worker, asyncio.TaskGroup() as group:
        group.create_task(worker.run(handle, handle_signals=False))
        yield handled
        worker.stop()


def _job(number: int) -> NewJob:
    return NewJob(model_id=number, model_hash=f"{number:064x}")


# The works to measure, and the number of jobs in each round.
_WORKS: Mapping[str, tuple[str, Work, int]] = {
    "json": ("a job by JSON: enqueue, dequeue, complete", json_jobs, 200),
    "drain": ("a job on a stream", drain, 5_000),
    "pick-up": ("a job for an idle worker", pick_up, 100),
    # The last, since its jobs stay in the queue.
    "enqueue": ("a job that is enqueued alone", enqueue, 300),
}


@asynccontextmanager
async def running(dsn: str, folder: Path, **variables: str) -> AsyncIterator[Subject]:
    """Run a server and a gateway on a new database."""
    connection = await asyncpg.connect(dsn)
    await connection.execute(f"CREATE DATABASE {folder.name}")
    await connection.close()
    head, _, query = dsn.partition("?")
    own = f"{head.rpartition('/')[0]}/{folder.name}{'?' + query if query else ''}"
    _make(folder)
    async with (
        service.server(own, folder, **variables) as (server, address),
        service.gateway(address, folder, **variables) as (gateway, http),
    ):
        yield Subject(address, http, (server.pid, gateway.pid))


def _make(folder: Path) -> None:
    folder.mkdir(parents=True)


async def start(dsn: str, folder: Path, works: Sequence[str], rounds: int) -> dict[str, Pairs]:
    """Start three services, and measure what each of these works costs."""
    number = folder.name
    # The order of things in memory makes two programs differ: these have the same, and another at each start.
    seed = {"PYTHONHASHSEED": str(random.randrange(1, 1_000_000))}
    async with (
        running(dsn, folder / f"{number}_one", **_UNLIMITED, **seed) as one,
        running(dsn, folder / f"{number}_with_keys", **_LIMITED, **seed) as closed,
        running(dsn, folder / f"{number}_other", **_UNLIMITED, **seed) as other,
    ):
        async with grpc.aio.insecure_channel(closed.grpc) as channel:
            request = CreateKeyRequest(role=ROLE_ADMIN, name="bench")
            key = (await AdminServiceStub(channel).CreateKey(request)).secret
        found = {}
        first = 1
        for name in works:
            _, work, count = _WORKS[name]
            found[name] = await take_turns(closed._replace(key=key), (one, other), work, count, rounds, first)
            first += count * (rounds + 1)
    return found


async def main() -> None:
    """Start what is measured."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--starts", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--only", action="append", choices=list(_WORKS))
    wanted = parser.parse_args()
    os.environ.pop("THUMBQ_API_KEY", None)
    works = wanted.only or list(_WORKS)
    with tempfile.TemporaryDirectory() as name, EmbeddedPostgres(Path(name) / "postgres") as dsn:
        starts = []
        for number in range(wanted.starts):
            starts.append(await start(dsn, Path(name) / f"start_{number}", works, wanted.rounds))
            print(f"{number + 1} of {wanted.starts} starts")
            for work in works:
                print(f"{_WORKS[work][0]}\n{summary([found[work] for found in starts])}", flush=True)


if __name__ == "__main__":
    uvloop.run(main())
