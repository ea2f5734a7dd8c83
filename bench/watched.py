"""What watching costs a drain: alone, with a scraper and `thumbq top`, and with an open console as well, in turns.

python -m bench.watched [--jobs 60000] [--rounds 5]

It takes three to four minutes. The scraper looks every 5 seconds, `thumbq top` every 2. The console's page is played by
its requests, at the pace that it has while jobs move: a browser would take the cores from the drain. The processor
time is that of server, gateway and PostgreSQL.
"""

import argparse
import asyncio
import contextlib
import statistics
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
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
    microseconds: list[float] = field(default_factory=list)


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
        api = f"http://{self._page}/api/"
        unlimited = aiohttp.ClientTimeout(total=None)
        async with (
            self.monitoring(),
            aiohttp.ClientSession(timeout=unlimited) as session,
            session.get(api + _CONSOLE_LISTENS, raise_for_status=True) as events,
            _until_the_end(_listen(events), _again(session, [api + path for path in _CONSOLE_ASKS], _LOOK)),
        ):
            yield


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


async def _again(session: aiohttp.ClientSession, addresses: list[str], seconds: float) -> None:
    while True:
        for address in addresses:
            async with session.get(address, raise_for_status=True) as answer:
                await answer.read()
        await asyncio.sleep(seconds)


async def measure(target: str, ways: dict[str, Watching], pids: list[int], wanted: argparse.Namespace) -> None:
    """Drain in turns, and print the medians, and the ratios to the drain alone of the same turn."""
    found = {name: Found() for name in ways}
    first = 1
    for number in range(wanted.rounds + 1):
        for name in list(ways) if number % 2 else list(reversed(ways)):
            await enqueue(target, range(first, first := first + wanted.jobs), "a")
            async with ways[name]():
                await asyncio.sleep(_LOOK)  # the watchers are there
                before = sum(map(processes.cpu_seconds, pids))
                seconds = await complete(target, wanted.jobs)
                spent = sum(map(processes.cpu_seconds, pids)) - before
            if number:  # the first turn warms up
                found[name].rates.append(wanted.jobs / seconds)
                found[name].microseconds.append(1e6 * spent / wanted.jobs)
    alone = found["alone"].rates
    for name, each in found.items():
        ratio = statistics.median(rate / base for rate, base in zip(each.rates, alone, strict=True))
        print(
            f"{name}: {statistics.median(each.rates):,.0f} jobs a second, {ratio:.3f} of the drain alone, "
            f"{statistics.median(each.microseconds):.1f} µs of CPU a job"
        )


async def main() -> None:
    """Start what is watched."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=60_000)
    parser.add_argument("--rounds", type=int, default=5)
    wanted = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, (postgres := EmbeddedPostgres(Path(name) / "postgres")) as dsn:
        folder, port = Path(name), free_port("127.0.0.1", 0)
        async with (
            service.server(dsn, folder, THUMBQ_METRICS_PORT=str(port)) as (server, target),
            service.gateway(target, folder) as (gateway, page),
        ):
            watchers = Watchers(target, f"http://127.0.0.1:{port}/metrics", page, folder)
            ways: dict[str, Watching] = {
                "alone": contextlib.nullcontext,
                "with a scraper and thumbq top": watchers.monitoring,
                "and with a console": watchers.all,
            }
            assert postgres.process
            await measure(target, ways, [server.pid, gateway.pid, postgres.process.pid], wanted)


if __name__ == "__main__":
    uvloop.run(main())
