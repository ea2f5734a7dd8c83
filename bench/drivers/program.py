"""The verbs of a driver that is written in Python."""

import asyncio
import json
import os
import random
import sys
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

from bench.drivers.meter import Meter, Reading

BATCH = 1_000
Options = dict[str, Any]
Figures = dict[str, float]


class Driver(Protocol):
    """The operations of one queue that the verbs are made of. The driver is entered for every verb but `work`."""

    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    async def setup(self) -> None:
        """Make the queue's tables."""

    async def batch(self, numbers: Sequence[int]) -> None:
        """Enqueue jobs in one call."""

    async def one(self, number: int, called_ns: int) -> None:
        """Enqueue one job that carries the time of the call."""

    async def work(self, meter: Meter, options: Options) -> None:
        """Run a worker until killed."""


async def run(driver: Driver) -> None:
    """Run the verb of the command line, and print its figures."""
    verb, options = sys.argv[1], json.loads(sys.argv[2])
    if verb == "work":
        await driver.work(Meter(Path(options["meter"])), options)
        return
    async with driver:
        figures = await _VERBS[verb](driver, options)
    print(json.dumps(figures), flush=True)


def target() -> str:
    """Return the DSN or the address of the queue."""
    return os.environ["BENCH_TARGET"]


def payload(number: int, called_ns: int = 0) -> dict[str, Any]:
    """Return about a hundred bytes of JSON, the size of a thumbnail job."""
    return {"t": called_ns, "model_id": number, "model_hash": "x" * 40, "k": "abcdef"}


async def _setup(driver: Driver, _options: Options) -> Figures:
    await driver.setup()
    return {}


async def _bulk(driver: Driver, options: Options) -> Figures:
    first, jobs = options["first"], options["jobs"]
    # The first batch opens connections and prepares statements; it is not timed.
    await driver.batch(range(first, first + BATCH))
    starts = range(first + BATCH, first + jobs, BATCH)
    started = time.monotonic()
    await _in_flight((range(start, start + BATCH) for start in starts), options["in_flight"], driver.batch)
    return {"jobs_per_s": len(starts) * BATCH / (time.monotonic() - started)}


async def _single(driver: Driver, options: Options) -> Figures:
    first, jobs, in_flight = options["first"], options["jobs"], options["in_flight"]
    timed = options.get("timed", False)
    waits: list[float] = []

    async def call(number: int) -> None:
        began = time.monotonic_ns()
        await driver.one(number, began if timed else 0)
        waits.append((time.monotonic_ns() - began) / 1e6)

    warm = min(jobs // 10, 2 * in_flight)
    await _in_flight(range(first, first + warm), in_flight, call)
    waits.clear()
    started = time.monotonic()
    await _in_flight(range(first + warm, first + jobs), in_flight, call)
    seconds = time.monotonic() - started
    waits.sort()
    return {
        "jobs_per_s": len(waits) / seconds,
        "call_p50_ms": waits[len(waits) // 2],
        "call_p99_ms": waits[int(len(waits) * 0.99)],
    }


async def _pace(driver: Driver, options: Options) -> Figures:
    first, jobs, rate = options["first"], options["jobs"], options["rate"]
    free = asyncio.Semaphore(options["in_flight"])

    async def call(number: int) -> None:
        await driver.one(number, time.monotonic_ns())
        free.release()

    started = due = time.monotonic()
    async with asyncio.TaskGroup() as calls:
        for number in range(first, first + jobs):
            # The random pause keeps the calls from falling into step with a contender's polls.
            due += random.uniform(0.75, 1.25) / rate
            if (pause := due - time.monotonic()) > 0:
                await asyncio.sleep(pause)
            await free.acquire()
            calls.create_task(call(number))
    return {"jobs_per_s": jobs / (time.monotonic() - started)}


async def _sustain(driver: Driver, options: Options) -> Figures:
    meters = [Reading(Path(path)) for path in options["meters"]]
    first, jobs, ahead = options["first"], options["jobs"], options["ahead"]
    sent = 0

    async def batch(numbers: Sequence[int]) -> None:
        nonlocal sent
        sent += len(numbers)
        while sent - sum(meter.handled for meter in meters) > ahead:
            await asyncio.sleep(0.002)
        await driver.batch(numbers)

    started = time.monotonic()
    starts = range(first, first + jobs, BATCH)
    await _in_flight((range(start, start + BATCH) for start in starts), options["in_flight"], batch)
    return {"jobs_per_s": jobs / (time.monotonic() - started)}


async def _in_flight(items: Iterable[Any], count: int, call: Callable[[Any], Awaitable[None]]) -> None:
    """Call with each item, `count` calls at a time."""
    waiting = iter(items)

    async def work() -> None:
        for item in waiting:
            await call(item)

    await asyncio.gather(*(work() for _ in range(count)))


_VERBS: dict[str, Callable[[Driver, Options], Awaitable[Figures]]] = {
    "setup": _setup,
    "bulk": _bulk,
    "single": _single,
    "pace": _pace,
    "sustain": _sustain,
}
