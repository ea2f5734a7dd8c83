"""What events cost servers and gateways, and how many of both a million pages take: docs/scale.md.

python -m bench.studies.scale [--pages 400] [--seconds 20]
"""

import argparse
import asyncio
import math
import random
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import psutil
import uvloop

from bench.running import service
from thumbq import NewJob, Producer
from thumbq_launcher.postgres.embedded import EmbeddedPostgres

_BATCH = 100
_MODELS_OF_PAGE = 50
_PAUSE = 0.1
_GATEWAYS = 2
_NOBODYS_MODEL = 1_000_000_000

# A page of docs/performance.md: a reconnect with 20 events missed, and memory.
_RECONNECT = 3.70 / 10_000
_KIB_OF_PAGE = 13.0

_PAGES = 1_000_000
_EVENTS_A_SECOND = 2_000  # of 1,000 jobs: each one waits, and ends
_SIMULATED_SECONDS = 60
_STORM_SECONDS = 5  # in which the pages of a lost gateway come back


@dataclass(frozen=True)
class Costs:
    """Seconds of CPU."""

    # of a server, for each event and each gateway that follows
    serving: float
    # of a gateway, for each event, whether a page wants it or not
    reading: float
    # of a gateway, for each page that gets an event
    delivery: float


class Pages:
    """Pages of one gateway. Each follows a number of models."""

    def __init__(self, address: str, http: aiohttp.ClientSession) -> None:
        self._url = f"http://{address}/api/notifications"
        self._http = http
        self.deliveries = 0

    async def joined(self, group: asyncio.TaskGroup, models: Iterable[int]) -> "asyncio.Task[None]":
        """Return the task of one page that follows these models from now on."""
        there = asyncio.Event()
        task = group.create_task(self._follow(",".join(map(str, models)), there))
        await there.wait()
        return task

    async def _follow(self, models: str, there: asyncio.Event) -> None:
        async with self._http.get(self._url, params={"modelId": models}) as response:
            assert response.status == 200
            there.set()
            async for line in response.content:
                self.deliveries += line.startswith(b"event: thumbnail")


async def enqueue(address: str, seconds: float, first: int) -> int:
    """Enqueue jobs for new models at a steady pace. Return how many events that were."""
    batches = int(seconds / _PAUSE)
    async with Producer(address) as producer:
        for batch in range(batches):
            models = range(first + batch * _BATCH, first + (batch + 1) * _BATCH)
            await producer.enqueue([NewJob(model_id=model, model_hash=f"{model:064x}") for model in models])
            await asyncio.sleep(_PAUSE)
    return batches * _BATCH


async def cpu_of(process: int, seconds: float, address: str, gateway: int, first: int) -> tuple[float, float, int]:
    """Return the CPU seconds of a server and of a gateway while jobs come, and the events."""
    both = [psutil.Process(process), psutil.Process(gateway)]
    before = [sum(each.cpu_times()[:2]) for each in both]
    events = await enqueue(address, seconds, first)
    await asyncio.sleep(1)
    server, of_gateway = (sum(each.cpu_times()[:2]) - was for each, was in zip(both, before, strict=True))
    return server, of_gateway, events


async def measure(pages: int, seconds: float) -> Costs:
    """Measure with a real server and real gateways: without pages, with one that wants nothing, and with many."""
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        dsn = stack.enter_context(EmbeddedPostgres(folder / "postgres"))
        server, grpc = await stack.enter_async_context(service.server(dsn, folder))
        gateways = []
        for number in range(_GATEWAYS):
            logs = folder / f"gateway-{number}"
            logs.mkdir()
            gateways.append(await stack.enter_async_context(service.gateway(grpc, logs)))
        http = await stack.enter_async_context(aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)))
        group = await stack.enter_async_context(asyncio.TaskGroup())
        first_gateway = gateways[0][0].pid
        await enqueue(grpc, 2, 1)
        alone, idle, events = await cpu_of(server.pid, seconds, grpc, first_gateway, 1_000_000)
        followers = [Pages(address, http) for _, address in gateways]
        tasks = [await each.joined(group, [_NOBODYS_MODEL]) for each in followers]
        serving, reading, _ = await cpu_of(server.pid, seconds, grpc, first_gateway, 2_000_000)
        for number in range(pages):
            # Far from each other, so that a page gets each event by itself.
            apart = events // _MODELS_OF_PAGE
            first = 3_000_000 + number % apart
            tasks.append(await followers[0].joined(group, range(first, first + events, apart)))
        _, delivering, _ = await cpu_of(server.pid, seconds, grpc, first_gateway, 3_000_000)
        deliveries = followers[0].deliveries
        for task in tasks:
            task.cancel()
    print(f"{events:,} events; CPU seconds of the server {alone:.2f} without gateways that follow, {serving:.2f} with")
    print(f"{_GATEWAYS}; of a gateway {idle:.2f}, {reading:.2f} for no page, {delivering:.2f} with {deliveries:,} sent")
    return Costs(
        max(0.0, serving - alone) / events / _GATEWAYS,
        max(0.0, reading - idle) / events,
        max(0.0, delivering - reading) / max(1, deliveries),
    )


def simulate(costs: Costs, gateways: int, watchers: float, storm: bool) -> tuple[float, float, float]:
    """Return how busy one of the gateways is, and the median and 99th percentile of the delay there, in seconds.

    Events come at random, and each is wanted by `watchers` pages on average. In a storm one more gateway is
    lost, and its pages come back to the others within seconds.
    """
    chance = random.Random(gateways)
    pages = _PAGES / gateways
    work: list[tuple[float, float]] = []
    at = 0.0
    while at < _SIMULATED_SECONDS:
        at += chance.expovariate(_EVENTS_A_SECOND)
        work.append((at, costs.reading + costs.delivery * _poisson(chance, watchers * pages / _PAGES)))
    events = len(work)
    if storm:
        returning = int(pages / (gateways - 1))
        work += [(chance.uniform(0, _STORM_SECONDS), _RECONNECT) for _ in range(returning)]
    delays = sorted(_delays(sorted(work)))
    busy = sum(seconds for _, seconds in work[:events]) / _SIMULATED_SECONDS
    return busy, delays[len(delays) // 2], delays[len(delays) * 99 // 100]


def _delays(work: list[tuple[float, float]]) -> Iterator[float]:
    free = 0.0
    for at, seconds in work:
        free = max(free, at) + seconds
        yield free - at


def _poisson(chance: random.Random, mean: float) -> int:
    if mean > 30:
        return max(0, round(chance.gauss(mean, math.sqrt(mean))))
    limit, product, count = math.exp(-mean), chance.random(), 0
    while product > limit:
        product *= chance.random()
        count += 1
    return count


def table(costs: Costs) -> Iterator[str]:
    """Yield the rows for a million pages and 1,000 jobs a second."""
    yield "| gateways | pages each | memory each | pages that want an event | busy | p50 ms | p99 ms | in a storm |"
    yield "|---:|---:|---:|---:|---:|---:|---:|---:|"
    for gateways in (25, 50, 100):
        pages = _PAGES // gateways
        for watchers in (1, 50, 1_000):
            busy, middle, most = simulate(costs, gateways, watchers, storm=False)
            lost = simulate(costs, gateways, watchers, storm=True)[2]
            times = " | ".join(f"{1000 * each:,.1f}" for each in (middle, most, lost))
            memory = f"{pages * _KIB_OF_PAGE / 1024:,.0f} MiB"
            yield f"| {gateways} | {pages:,} | {memory} | {watchers:,} | {busy:.0%} | {times} |"


async def main() -> None:
    """Measure, and simulate with what was measured."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--pages", type=int, default=400)
    parser.add_argument("--seconds", type=float, default=20.0)
    wanted = parser.parse_args()
    costs = await measure(wanted.pages, wanted.seconds)
    serving, reading, delivery = (f"{1e6 * each:.0f}" for each in (costs.serving, costs.reading, costs.delivery))
    print(f"microseconds: server per event and gateway {serving}, gateway per event {reading}, per delivery {delivery}")
    for gateways in (25, 50, 100):
        cores = costs.serving * _EVENTS_A_SECOND * gateways
        print(
            f"{gateways} gateways cost all servers together {cores:.1f} cores for {_EVENTS_A_SECOND:,} events a second"
        )
    for line in table(costs):
        print(line)


if __name__ == "__main__":
    uvloop.run(main())
