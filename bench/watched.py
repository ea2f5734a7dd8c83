"""What watching costs a drain: alone, with a scraper and `thumbq top`, and with an open console as well, in turns.

python -m bench.watched [--jobs 200000] [--rounds 5] [--apart]

It takes some minutes. A drain of a second is too short: its rate varies by more than watching costs. With --apart, each
thing that a console does is watched by itself. The scraper looks every 5 seconds, `thumbq top` every 2. The console's
page is played by its requests, at the pace that it has while jobs move: a browser would take the cores from the drain.
The processor time is that of server, gateway and PostgreSQL.
"""

import argparse
import asyncio
import contextlib
import statistics
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import aiohttp
import uvloop

from bench.retention import complete, enqueue
from bench.running import processes, service
from thumbq_launcher.postgres.embedded import EmbeddedPostgres
from thumbq_runtime.addresses import free_port

_SCRAPE, _LOOK = 5.0, 1.0  # seconds
_CONSOLE_ASKS = ("admin/stats", "admin/workers", "admin/dead-letters?pageSize=500")
_CONSOLE_LISTENS = "notifications?queue=true&thumbnails=false"
Watching = Callable[[], AbstractAsyncContextManager[object]]


@dataclass
class Found:
    """Figures of the drains that were watched in one way."""

    rates: list[float] = field(default_factory=list)
    # microseconds a job of each program
    spent: list[dict[str, float]] = field(default_factory=list)

    def medians(self) -> str:
        """Return the processor time of each program."""
        return ", ".join(
            f"{program} {statistics.median(each[program] for each in self.spent):.2f}" for program in self.spent[0]
        )


class Watchers:
    """What operators have open."""

    def __init__(self, target: str, metrics: str, page: str, folder: Path) -> None:
        self._target = target
        self._metrics = metrics
        self._page = page
        self._folder = folder

    @contextlib.asynccontextmanager
    async def monitoring(self) -> AsyncIterator[None]:
        """Have the metrics scraped, and `thumbq top` running."""
        top = [sys.executable, "-c", "from thumbq.cli import main; main()", "top", "--server", self._target]
        async with (
            processes.running(top, self._folder / "top.log") as process,
            aiohttp.ClientSession() as session,
            _until_the_end(_swallow(process), _again(session, [self._metrics], _SCRAPE)),
        ):
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
            _until_the_end(_again(session, paths, _LOOK)),
        ):
            yield

    def apart(self) -> dict[str, Watching]:
        """Return each thing that a console does."""
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
            async with session.get(address, raise_for_status=True) as answer:
                await answer.read()
        await asyncio.sleep(seconds)


async def measure(target: str, ways: dict[str, Watching], pids: dict[str, int], wanted: argparse.Namespace) -> None:
    """Drain in turns, and print the medians, and the ratios to the drain alone of the same turn."""
    found = {name: Found() for name in ways}
    first = 1
    for number in range(wanted.rounds + 1):
        for name in list(ways) if number % 2 else list(reversed(ways)):
            await enqueue(target, range(first, first := first + wanted.jobs), "a")
            async with ways[name]():
                await asyncio.sleep(_LOOK)  # the watchers are there
                before = {program: processes.cpu_seconds(pid) for program, pid in pids.items()}
                seconds = await complete(target, wanted.jobs)
                after = {program: processes.cpu_seconds(pid) for program, pid in pids.items()}
            if number:  # the first turn warms up
                found[name].rates.append(wanted.jobs / seconds)
                found[name].spent.append({name: 1e6 * (after[name] - before[name]) / wanted.jobs for name in pids})
    alone = found["alone"].rates
    for name, each in found.items():
        ratio = statistics.median(rate / base for rate, base in zip(each.rates, alone, strict=True))
        print(
            f"{name}: {statistics.median(each.rates):,.0f} jobs a second, {ratio:.3f} of the drain alone, "
            f"µs of CPU a job: {each.medians()}"
        )


async def main() -> None:
    """Start what is watched."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=200_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--apart", action="store_true")
    wanted = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, (postgres := EmbeddedPostgres(Path(name) / "postgres")) as dsn:
        folder, port = Path(name), free_port("127.0.0.1", 0)
        async with (
            service.server(dsn, folder, THUMBQ_METRICS_PORT=str(port)) as (server, target),
            service.gateway(target, folder) as (gateway, page),
        ):
            watchers = Watchers(target, f"http://127.0.0.1:{port}/metrics", page, folder)
            together: dict[str, Watching] = {
                "with a scraper and thumbq top": watchers.monitoring,
                "and with a console": watchers.all,
            }
            assert postgres.process
            pids = {"server": server.pid, "gateway": gateway.pid, "PostgreSQL": postgres.process.pid}
            ways = {"alone": contextlib.nullcontext, **(watchers.apart() if wanted.apart else together)}
            await measure(target, ways, pids, wanted)


if __name__ == "__main__":
    uvloop.run(main())
