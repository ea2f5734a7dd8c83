"""What watching costs: the processor time of a service that rests, and of one that drains, in turns.

python -m bench.studies.watched [--jobs 200000] [--rounds 5] [--seconds 10] [--apart]

It takes some minutes. Each turn has the service alone twice: what differs there is noise. A service that rests shows
what each thing costs a second, which is a share of the processors: that much throughput it takes from a drain that has
all of them busy. A drain shows the same less exactly, but nothing is derived. A drain of a second is too short: its
rate varies by more than watching costs. With --apart, drains have each thing that a console does by itself.

The scraper looks at server and gateway every 5 seconds, `thumbq top` every 2. The console's page is played by its
requests, at the pace that it has while jobs move: a browser would take the cores from the drain. The processor time is
that of server, gateway and PostgreSQL.
"""

import argparse
import asyncio
import contextlib
import os
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import aiohttp
import uvloop

from bench.running import processes, service
from bench.studies.retention import complete, enqueue
from thumbq_launcher.postgres.embedded import EmbeddedPostgres
from thumbq_runtime.addresses import free_port

_SCRAPE, _SETTLE = 5.0, 2.0  # seconds
# The pause after a look of the console, as static/console/console.js has it: so many times as long as the look took,
# within these seconds.
_REST_FACTOR, _SHORTEST_REST, _LONGEST_REST = 100, 1.0, 5.0
_CONSOLE_ASKS = ("admin/stats", "admin/workers", "admin/dead-letters?pageSize=500")
_CONSOLE_LISTENS = "notifications?queue=true&thumbnails=false"
Watching = Callable[[], AbstractAsyncContextManager[object]]
Pids = dict[str, int]
_ALONE, _AGAIN = "alone", "alone again"


@dataclass
class Found:
    """Figures of the turns that were watched in one way."""

    # of drains: jobs a second
    rates: list[float] = field(default_factory=list)
    # of each program: microseconds a job, or milliseconds a second
    spent: list[dict[str, float]] = field(default_factory=list)

    def medians(self) -> str:
        """Return the processor time of each program."""
        return ", ".join(
            f"{program} {statistics.median(each[program] for each in self.spent):.2f}" for program in self.spent[0]
        )

    def more_than(self, alone: "Found") -> float:
        """Return by how much the processor time of all programs is above that of the same turn alone."""
        pairs = zip(self.spent, alone.spent, strict=True)
        return statistics.median(sum(each.values()) - sum(base.values()) for each, base in pairs)

    def rate_beside(self, alone: "Found") -> float:
        """Return the ratio to the rate of the same turn alone."""
        return statistics.median(rate / base for rate, base in zip(self.rates, alone.rates, strict=True))


class Watchers:
    """What operators have open."""

    def __init__(self, target: str, metrics: Sequence[str], page: str, folder: Path) -> None:
        self._target = target
        self._metrics = metrics
        self._page = page
        self._folder = folder

    @contextlib.asynccontextmanager
    async def scraping(self) -> AsyncIterator[None]:
        """Have the metrics scraped."""
        async with (
            aiohttp.ClientSession() as session,
            _until_the_end(_again(session, self._metrics, _SCRAPE)),
        ):
            yield

    @contextlib.asynccontextmanager
    async def top(self) -> AsyncIterator[None]:
        """Have `thumbq top` running."""
        top = [sys.executable, "-c", "from thumbq.cli import main; main()", "top", "--server", self._target]
        async with (
            processes.running(top, self._folder / "top.log") as process,
            _until_the_end(_swallow(process)),
        ):
            yield

    @contextlib.asynccontextmanager
    async def monitoring(self) -> AsyncIterator[None]:
        """Have the metrics scraped, and `thumbq top` running."""
        async with self.scraping(), self.top():
            yield

    @contextlib.asynccontextmanager
    async def all(self) -> AsyncIterator[None]:
        """Have a page of the console open as well."""
        async with self.monitoring(), self.listening(), self.asking(*_CONSOLE_ASKS):
            yield

    @contextlib.asynccontextmanager
    async def listening(self) -> AsyncIterator[None]:
        """Have the stream of a console open."""
        unlimited = aiohttp.ClientTimeout(total=None)
        async with (
            aiohttp.ClientSession(f"http://{self._page}/api/", timeout=unlimited) as session,
            session.get(_CONSOLE_LISTENS, raise_for_status=True) as events,
            _until_the_end(_listen(events)),
        ):
            yield

    @contextlib.asynccontextmanager
    async def asking(self, *paths: str) -> AsyncIterator[None]:
        """Have a console look at these."""
        async with (
            aiohttp.ClientSession(f"http://{self._page}/api/") as session,
            _until_the_end(_look(session, paths)),
        ):
            yield

    def resting(self) -> dict[str, Watching]:
        """Return the ways in which a service that rests is watched."""
        return {
            "a scraper": self.scraping,
            "thumbq top": self.top,
            "a console's stream": self.listening,
            "a console's looks": partial(self.asking, *_CONSOLE_ASKS),
            "all of it": self.all,
        }

    def draining(self, *, apart: bool) -> dict[str, Watching]:
        """Return the ways in which a drain is watched: all together, or each thing that a console does."""
        if not apart:
            return {"a scraper and thumbq top": self.monitoring, "a console as well": self.all}
        looks: dict[str, Watching] = {path: partial(self.asking, path) for path in _CONSOLE_ASKS}
        return {_CONSOLE_LISTENS: self.listening, **looks}


@contextlib.asynccontextmanager
async def _until_the_end(*work: Coroutine[None, None, None]) -> AsyncIterator[None]:
    tasks = [asyncio.create_task(each) for each in work]
    try:
        yield
        for task in tasks:
            if task.done():
                task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _swallow(process: processes.Process) -> None:
    while await process.line():
        pass


async def _listen(events: aiohttp.ClientResponse) -> None:
    async for _ in events.content.iter_any():
        pass


async def _again(session: aiohttp.ClientSession, addresses: Sequence[str], seconds: float) -> None:
    while True:
        for address in addresses:
            await _read(session, address)
        await asyncio.sleep(seconds)


async def _look(session: aiohttp.ClientSession, addresses: Sequence[str]) -> None:
    while True:
        began = time.perf_counter()
        await asyncio.gather(*(_read(session, address) for address in addresses))
        took = time.perf_counter() - began
        await asyncio.sleep(min(max(_REST_FACTOR * took, _SHORTEST_REST), _LONGEST_REST))


async def _read(session: aiohttp.ClientSession, address: str) -> None:
    async with session.get(address, raise_for_status=True) as answer:
        await answer.read()


def _cpu(pids: Pids) -> dict[str, float]:
    return {program: processes.cpu_seconds(pid) for program, pid in pids.items()}


def _turns(rounds: int, ways: dict[str, Watching]) -> Iterator[tuple[int, str, Watching]]:
    """Yield the ways in turns, each of which begins where the one before has ended. The first one warms up."""
    for number in range(rounds + 1):
        for name in list(ways) if number % 2 else list(reversed(ways)):
            yield number, name, ways[name]


async def rest(ways: dict[str, Watching], pids: Pids, rounds: int, seconds: float) -> None:
    """Watch a service that rests, and print what that costs a second."""
    found = {name: Found() for name in ways}
    for number, name, way in _turns(rounds, ways):
        async with way():
            await asyncio.sleep(_SETTLE)
            before, began = _cpu(pids), time.perf_counter()
            await asyncio.sleep(seconds)
            after, took = _cpu(pids), time.perf_counter() - began
        if number:
            found[name].spent.append({program: 1e3 * (after[program] - before[program]) / took for program in pids})
    processors = os.cpu_count() or 1
    for name, each in found.items():
        more = each.more_than(found[_ALONE])
        print(
            f"at rest, {name}: ms of CPU a second: {each.medians()}; {more:+.2f} beside alone, "
            f"{more / 10 / processors:+.3f} % of {processors} processors",
            flush=True,
        )


async def drain(target: str, ways: dict[str, Watching], pids: Pids, wanted: argparse.Namespace) -> None:
    """Drain in turns, and print the medians, and the ratios to the drain alone of the same turn."""
    found = {name: Found() for name in ways}
    first = 1 + wanted.jobs
    for number, name, way in _turns(wanted.rounds, ways):
        await enqueue(target, range(first, first := first + wanted.jobs), "a")
        async with way():
            await asyncio.sleep(_SETTLE)
            before = _cpu(pids)
            seconds = await complete(target, wanted.jobs)
            after = _cpu(pids)
        if number:
            found[name].rates.append(wanted.jobs / seconds)
            found[name].spent.append(
                {program: 1e6 * (after[program] - before[program]) / wanted.jobs for program in pids}
            )
    alone = found[_ALONE]
    for name, each in found.items():
        print(
            f"drain, {name}: {statistics.median(each.rates):,.0f} jobs a second, {each.rate_beside(alone):.3f} of "
            f"alone; µs of CPU a job: {each.medians()}; {each.more_than(alone):+.2f} beside alone"
        )


async def main() -> None:
    """Start what is watched."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=200_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--apart", action="store_true")
    wanted = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, (postgres := EmbeddedPostgres(Path(name) / "postgres")) as dsn:
        folder, port = Path(name), free_port("127.0.0.1", 0)
        async with (
            service.server(dsn, folder, THUMBQ_METRICS_PORT=str(port)) as (server, target),
            service.gateway(target, folder) as (gateway, page),
        ):
            metrics = [f"http://127.0.0.1:{port}/metrics", f"http://{page}/metrics"]
            watchers = Watchers(target, metrics, page, folder)
            assert postgres.process
            pids = {"server": server.pid, "gateway": gateway.pid, "PostgreSQL": postgres.process.pid}
            # The log has the ends of many jobs, as it has after a busy minute.
            await enqueue(target, range(1, 1 + wanted.jobs), "a")
            await complete(target, wanted.jobs)
            alone: dict[str, Watching] = {_ALONE: contextlib.nullcontext, _AGAIN: contextlib.nullcontext}
            await rest(alone | watchers.resting(), pids, wanted.rounds, wanted.seconds)
            await drain(target, alone | watchers.draining(apart=wanted.apart), pids, wanted)


if __name__ == "__main__":
    uvloop.run(main())
