"""The measurements, the same for every contender."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable

from bench.drivers.program import Figures
from bench.running.processes import Failed, cpu_seconds, memory_mib
from bench.session import Session, Workers

_WARM_UP = 20
_LOOK_EVERY = 0.005  # seconds
_TIME_LIMIT = 300.0  # seconds
_IDLE = 0.5  # seconds after which a worker is idle
_QUIET = 5.0  # seconds after which a server has given back what a backlog took
_LARGE = "SELECT FROM pg_class WHERE relname IN ('ready', 'leases') AND pg_indexes_size(oid) > 1048576"


def percentiles(sorted_values: list[float], prefix: str = "") -> Figures:
    """Return the median and the 99th percentile."""
    count = len(sorted_values)
    return {
        f"{prefix}p50_ms": sorted_values[count // 2],
        f"{prefix}p99_ms": sorted_values[min(count - 1, int(count * 0.99))],
    }


async def bulk(session: Session, jobs: int, in_flight: int) -> Figures:
    """Enqueue in batches of 1,000."""
    return await session.verb("bulk", jobs=jobs, first=1, in_flight=in_flight)


async def single(session: Session, jobs: int, in_flight: int) -> Figures:
    """Enqueue one job a call."""
    return await session.verb("single", jobs=jobs, first=1, in_flight=in_flight)


async def drain(session: Session, jobs: int) -> Figures:
    """Drain a backlog. The clock runs from the first handler call until the database has no unfinished job."""
    empty = await session.database.table_bytes()
    await session.fill(jobs)
    await session.database.settle()
    wal = await session.database.wal_bytes()
    service = session.pids()
    before = _cpu(service)
    async with session.workers(session.contender.drains) as workers:
        # The CPU that the workers use before their first job is not counted.
        await workers.until(1)
        crew = {f"worker {index}": member.pid for index, member in enumerate(workers.members)}
        before["worker"] = sum(_cpu(crew).values())
        await workers.until(jobs)
        ended = await session.until_finished()
        _check_once(workers, jobs)
        after = _cpu(service) | {"worker": sum(_cpu(crew).values())}
        figures = {"jobs_per_s": jobs / (ended - workers.first)}
        figures |= {f"{who}_us_per_job": (after[who] - before[who]) / jobs * 1e6 for who in after}
        figures |= {f"{who}_mib": memory_mib(pid) for who, pid in service.items()}
        figures["worker_mib"] = sum(memory_mib(pid) for pid in crew.values())
    figures["wal_b_per_job"] = (await session.database.wal_bytes() - wal) / jobs
    if session.contender.is_ours:
        await _room_is_back(session)
    figures["disk_b_per_job"] = (await session.database.table_bytes() - empty) / jobs
    return figures


async def pick_up(session: Session, jobs: int, rate: float = 50.0) -> Figures:
    """Enqueue a job about every 20 ms for an idle worker, and time the way from the call to the handler."""
    async with session.workers(session.contender.picks_up) as workers:
        await _warm_up(session, workers)
        await session.verb("pace", jobs=jobs, first=_WARM_UP + 1, rate=rate, in_flight=16)
        await workers.until(_WARM_UP + jobs)
        return percentiles(workers.waits())


async def mixed(session: Session, seconds: float, in_flight: int = 64) -> Figures:
    """Enqueue single jobs and drain at the same time: first as fast as possible, then at half that rate."""
    async with session.workers(session.contender.drains) as workers:
        await _warm_up(session, workers)
        first = _WARM_UP + 1
        probe = await session.verb("single", jobs=1_000, first=first, in_flight=in_flight)
        jobs = max(500, int(probe["jobs_per_s"] * seconds))
        first += 1_000
        full = await session.verb("single", jobs=jobs, first=first, in_flight=in_flight, timed=True)
        await workers.until(first - 1 + jobs)
        await session.until_finished()
        figures = {"jobs_per_s": full["jobs_per_s"], **percentiles(workers.waits())}
    first += jobs
    rate = full["jobs_per_s"] / 2
    jobs = max(250, int(rate * seconds))
    async with session.workers(session.contender.drains) as workers:
        await session.verb("single", jobs=_WARM_UP, first=first, in_flight=1)
        await workers.until(_WARM_UP)
        half = await session.verb("pace", jobs=jobs, first=first + _WARM_UP, rate=rate, in_flight=512)
        await workers.until(_WARM_UP + jobs)
        figures["half_jobs_per_s"] = half["jobs_per_s"]
        figures |= percentiles(workers.waits(), "half_")
    return figures


async def drain_rate(session: Session, sample: int, jobs: int) -> float:
    """Return the jobs a second at which `sample` jobs of a backlog are completed; then drain the rest."""
    async with session.workers(session.contender.drains) as workers, completions(session) as until:
        ended = await until(sample)
        await until(jobs)
        await session.until_finished()
        _check_once(workers, jobs)
        return sample / (ended - workers.first)


@contextlib.asynccontextmanager
async def completions(session: Session) -> AsyncIterator[Callable[[int], Awaitable[float]]]:
    """Yield a function that waits until thumbq has committed a number of completions, and returns the time.

    The meters of the workers would be too early: a job that was handled may still wait for its commit.
    """
    async with session.database.asking("SELECT completed FROM queue_head") as completed:
        before = await completed()

        async def until(jobs: int) -> float:
            ends = time.monotonic() + _TIME_LIMIT
            while (done := await completed() - before) < jobs:
                await asyncio.sleep(_LOOK_EVERY)
                if time.monotonic() > ends:
                    raise Failed(f"{done:,} of {jobs:,} jobs were completed in {_TIME_LIMIT:.0f} s")
            return time.monotonic()

        yield until


async def _warm_up(session: Session, workers: Workers) -> None:
    """Wait until the workers are ready and every statement has run once."""
    await session.verb("single", jobs=_WARM_UP, first=1, in_flight=1)
    await workers.until(_WARM_UP)
    await asyncio.sleep(_IDLE)


async def _room_is_back(session: Session) -> None:
    """Wait until the server has made the tables of live jobs small again, or has had the time to."""
    ends = time.monotonic() + _QUIET
    while time.monotonic() < ends and await session.database.any(_LARGE):
        await asyncio.sleep(0.1)


def _check_once(workers: Workers, jobs: int) -> None:
    """Raise Failed when a job was handled twice: then the figure does not count."""
    if workers.handled > jobs:
        raise Failed(f"{workers.handled - jobs:,} of {jobs:,} jobs were handled more than once")


def _cpu(pids: dict[str, int]) -> Figures:
    return {who: cpu_seconds(pid) for who, pid in pids.items()}
