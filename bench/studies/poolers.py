"""What a pooler costs: thumbq through PgBouncer in transaction mode, with and without a way around it for LISTEN.

python -m bench.studies.poolers [--rounds 8] [--only drain]

Each way has two servers on a database of its own, and all ways take turns. Two of them have no pooler: where these
differ as much, the measurement shows nothing. The CPU time is that of servers, PostgreSQL and pooler together. In
brackets stands how often a figure is that without a pooler, the median of all rounds.
"""

import argparse
import asyncio
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import NamedTuple

import asyncpg
import uvloop

from bench.running import service
from bench.running.pooler import pooler
from bench.running.processes import cpu_seconds
from thumbq import Job, NewJob, Producer, Thumbnail, Worker
from thumbq_launcher.postgres.embedded import EmbeddedPostgres

_PICTURE = Thumbnail("/thumbnails/1.webp", 1234, 512, 512)
_AT_ONCE = 64
# docs/operations.md advises it for two servers.
_BACKENDS = 22
# The ways from a server to PostgreSQL.
_WAYS = ("no pooler", "no pooler, once more", "THUMBQ_LISTEN_URL", "polling")


class Way(NamedTuple):
    """Two running servers of one queue: their addresses, and the programs whose CPU time counts."""

    here: str
    there: str
    pids: Sequence[int]


class Round(NamedTuple):
    """What one way did in one round: the CPU seconds of a job, and the seconds that were measured by the clock."""

    cpu: float
    clock: Sequence[float]


# Does a number of jobs, whose models are counted from another one. Returns the measured seconds.
Work = Callable[[Way, int, int], Awaitable[Sequence[float]]]


async def drain(way: Way, count: int, first: int) -> Sequence[float]:
    """Enqueue jobs with one call, and complete them on a stream. Return the seconds of a job."""
    async with Producer(way.here) as producer:
        await producer.enqueue(_job(number) for number in range(first, first + count))
    async with _working(way.here, _AT_ONCE) as handled:
        moments = [await handled.get() for _ in range(count)]
    return [(moments[-1] - moments[0]) / count]


async def enqueue(way: Way, count: int, first: int) -> Sequence[float]:
    """Enqueue jobs one after the other, and return the seconds of each call."""
    async with Producer(way.here) as producer:
        return [await _enqueue_one(producer, number) for number in range(first, first + count)]


async def enqueue_together(way: Way, count: int, first: int) -> Sequence[float]:
    """Enqueue jobs one by one, many at once. Return the seconds of a job."""
    numbers = iter(range(first, first + count))
    async with Producer(way.here) as producer:

        async def enqueue_some() -> None:
            for number in numbers:
                await producer.enqueue_one(_job(number))

        began = time.perf_counter()
        await asyncio.gather(*(enqueue_some() for _ in range(_AT_ONCE)))
        return [(time.perf_counter() - began) / count]


async def _enqueue_one(producer: Producer, number: int) -> float:
    began = time.perf_counter()
    await producer.enqueue_one(_job(number))
    return time.perf_counter() - began


async def pick_up(way: Way, count: int, first: int) -> Sequence[float]:
    """Enqueue jobs at the server of an idle worker. Return the seconds from each call to its handler."""
    return await _pick_up(way.here, way.here, count, first)


async def pick_up_there(way: Way, count: int, first: int) -> Sequence[float]:
    """Enqueue jobs at another server than that of the idle worker. Return the seconds from each call to its handler."""
    return await _pick_up(way.there, way.here, count, first)


async def _pick_up(producers: str, workers: str, count: int, first: int) -> Sequence[float]:
    waits = []
    async with Producer(producers) as producer, _working(workers, 1) as handled:
        for number in range(first, first + count):
            began = time.perf_counter()
            await producer.enqueue_one(_job(number))
            waits.append(await handled.get() - began)
    return waits


@asynccontextmanager
async def _working(server: str, jobs: int) -> AsyncIterator["asyncio.Queue[float]"]:
    """Have a worker that handles this number of jobs at a time; yield the moments at which it got them."""
    handled: asyncio.Queue[float] = asyncio.Queue()

    async def handle(_job: Job) -> Thumbnail:
        handled.put_nowait(time.perf_counter())
        return _PICTURE

    async with Worker(server, concurrency=jobs, prefetch=jobs) as worker, asyncio.TaskGroup() as group:
        group.create_task(worker.run(handle, handle_signals=False))
        yield handled
        worker.stop()


def _job(number: int) -> NewJob:
    return NewJob(model_id=number, model_hash=f"{number:064x}")


# The works to measure, and the number of jobs in each round.
_WORKS: Mapping[str, tuple[str, Work, int]] = {
    "drain": ("a job on a stream", drain, 5_000),
    "pick-up": ("a job for an idle worker, from the call to its handler", pick_up, 100),
    "pick-up-there": ("the same, enqueued at the other server", pick_up_there, 8),
    # The last, since their jobs stay in the queue.
    "enqueue": ("a job that is enqueued alone, one after the other", enqueue, 200),
    "enqueue-together": (f"a job that is enqueued alone, {_AT_ONCE} at once", enqueue_together, 2_000),
}


@asynccontextmanager
async def _running(postgres: EmbeddedPostgres, folder: Path, name: str) -> AsyncIterator[Way]:
    """Run two servers on a new database that go this way to PostgreSQL."""
    assert postgres.process
    connection = await asyncpg.connect(postgres.dsn)
    await connection.execute(f"CREATE DATABASE {folder.name}")
    await connection.close()
    head, _, query = postgres.dsn.partition("?")
    address = own = f"{head.rpartition('/')[0]}/{folder.name}{'?' + query if query else ''}"
    async with AsyncExitStack() as stack:
        pids = [postgres.process.pid]
        if not name.startswith("no pooler"):
            _make(folder)
            between, address = await stack.enter_async_context(pooler(own, folder, default_pool_size=_BACKENDS))
            pids.append(between.pid)
        variables = {"THUMBQ_LISTEN_URL": own} if name == "THUMBQ_LISTEN_URL" else {}
        servers = []
        for number in (1, 2):
            logs = folder / f"server_{number}"
            _make(logs)
            process, at = await stack.enter_async_context(service.server(address, logs, **variables))
            servers.append(at)
            pids.append(process.pid)
        yield Way(servers[0], servers[1], pids)


def _make(folder: Path) -> None:
    folder.mkdir(parents=True)


async def _measure(way: Way, work: Work, count: int, first: int) -> Round:
    before = sum(map(cpu_seconds, way.pids))
    clock = await work(way, count, first)
    return Round((sum(map(cpu_seconds, way.pids)) - before) / count, clock)


async def _take_turns(
    ways: Mapping[str, Way], work: Work, count: int, rounds: int, first: int
) -> dict[str, list[Round]]:
    """Measure each way once a round, in another order each time. One more round warms up."""
    found: dict[str, list[Round]] = {name: [] for name in ways}
    names = list(ways)
    for number in range(rounds + 1):
        for name in names:
            measured = await _measure(ways[name], work, count, first)
            if number:
                found[name].append(measured)
        first += count
        names = [*names[1:], names[0]] if number % 2 else names[::-1]
    return found


def _table(found: Mapping[str, Sequence[Round]]) -> str:
    """Return a line for each way: CPU time, median and 99th percentile by the clock."""
    plain = found[_WAYS[0]]
    lines = []
    for name, rounds in found.items():
        waits = sorted(wait for each in rounds for wait in each.clock)
        cpu = [each.cpu for each in rounds]
        clock = [statistics.median(each.clock) for each in rounds]
        more_cpu = _times(cpu, [each.cpu for each in plain])
        more_time = _times(clock, [statistics.median(each.clock) for each in plain])
        p50, p99 = statistics.median(waits) * 1e6, waits[int(len(waits) * 0.99)] * 1e6
        lines.append(
            f"  {name:21} {statistics.median(cpu) * 1e6:9,.0f} µs of CPU ({more_cpu:.2f}),"
            f" {p50:9,.0f} µs by the clock ({more_time:.2f}), p99 {p99:9,.0f} µs"
        )
    return "\n".join(lines)


def _times(each: Sequence[float], plain: Sequence[float]) -> float:
    return statistics.median(one / other for one, other in zip(each, plain, strict=True))


async def main() -> None:
    """Start what is measured."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--only", action="append", choices=list(_WORKS))
    wanted = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        postgres = EmbeddedPostgres(Path(name) / "postgres")
        with postgres:
            await _compare(postgres, Path(name), wanted.only or list(_WORKS), wanted.rounds)


async def _compare(postgres: EmbeddedPostgres, folder: Path, works: Sequence[str], rounds: int) -> None:
    async with AsyncExitStack() as stack:
        ways = {
            way: await stack.enter_async_context(_running(postgres, folder / f"way_{number}", way))
            for number, way in enumerate(_WAYS)
        }
        first = 1
        for each in works:
            title, work, count = _WORKS[each]
            found = await _take_turns(ways, work, count, rounds, first)
            print(f"{title}\n{_table(found)}", flush=True)
            first += count * (rounds + 1)


if __name__ == "__main__":
    uvloop.run(main())
