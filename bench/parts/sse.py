"""Pages that subscribe: delivery times, CPU and memory, and the time of a common reconnect."""

import asyncio
import contextlib
import json
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from functools import partial
from pathlib import Path
from typing import Any

from bench.drivers.program import Figures
from bench.lab import Lab
from bench.reporting.results import Entrant, Part
from bench.running import processes
from bench.running.processes import Failed, Process
from bench.subjects.contenders import ROOT
from bench.subjects.notifiers import Notifier, nchan, nchan_version, our_gateway

_Start = Callable[[Lab], AbstractAsyncContextManager[Notifier]]
_Measure = Callable[[Notifier, "Pages", int], Awaitable[Figures]]
_MOST = 10_000
_EVENTS = 10
_MISSED = 20
_NOTIFIERS: dict[str, _Start] = {"gateway": our_gateway, f"nchan {nchan_version()}".strip(): nchan}


async def sse(lab: Lab, part: Part) -> None:
    """Publish an event a second to all, then a burst."""
    entrants = []
    for subscribers in (_MOST, 1_000, 100):
        count = max(10, round(subscribers * min(1.0, lab.scale)))
        setting = f"{count:,} subscribers, an event a second"
        entrants += [_entrant(lab, name, setting, _steady, count) for name in _NOTIFIERS]
    count = max(10, round(1_000 * min(1.0, lab.scale)))
    entrants += [
        _entrant(lab, name, f"{count:,} subscribers, 1,000 events at once", _burst, count) for name in _NOTIFIERS
    ]
    await lab.compare(part, entrants)
    ours, peer = entrants[:2]
    lab.results.ratio("sse_vs_nchan", part.ratio(ours.row, peer.row, "deliveries_per_cpu_s"))
    lab.results.ratio("sse_kib_each", part.values(ours.row, "memory_each_kib"))
    lab.results.ratio("sse_deliveries_per_cpu_s", part.values(ours.row, "deliveries_per_cpu_s"))
    lab.results.ratio("sse_p99_ms", part.values(ours.row, "p99_ms"))


async def storm(lab: Lab, part: Part) -> None:
    """Disconnect all pages, publish events, and let all reconnect at the same time."""
    count = max(10, round(_MOST * min(1.0, lab.scale)))
    setting = f"{count:,} reconnect at once, {_MISSED} events missed"
    await lab.compare(part, [_entrant(lab, name, setting, _reconnect, count) for name in _NOTIFIERS])


class Pages:
    """The process of the subscribed clients."""

    def __init__(self, process: Process) -> None:
        self._process = process

    async def answer(self) -> Any:
        """Return the next answer."""
        return json.loads(await self._process.line())

    async def ask(self, do: str, **options: object) -> Any:
        """Send a command, and return the answer."""
        await self._process.write_line(json.dumps({"do": do, **options}))
        return await self.answer()

    async def expect(self, events: int, limit: float = 60.0) -> None:
        """Count events from now on; `answer` returns the result."""
        await self.ask("expect", events=events, limit=limit)


async def _steady(notifier: Notifier, pages: Pages, count: int) -> Figures:
    empty = processes.memory_mib(notifier.process.pid)
    await _arrive(notifier, pages, count)
    full = processes.memory_mib(notifier.process.pid)
    await pages.expect(_EVENTS)
    cpu = processes.cpu_seconds(notifier.process.pid)
    due = time.monotonic()
    for _ in range(_EVENTS):
        due += 1.0
        await notifier.publish()
        await asyncio.sleep(max(0.0, due - time.monotonic()))
    received = _checked(await pages.answer())
    cpu = processes.cpu_seconds(notifier.process.pid) - cpu
    return {
        "deliveries_per_cpu_s": count * _EVENTS / cpu,
        "p50_ms": received["p50_ms"],
        "p99_ms": received["p99_ms"],
        "memory_each_kib": (full - empty) * 1024 / count,
    }


async def _burst(notifier: Notifier, pages: Pages, count: int) -> Figures:
    events = 1_000
    await _arrive(notifier, pages, count)
    await pages.expect(events)
    cpu, writes = processes.cpu_seconds(notifier.process.pid), processes.writes(notifier.process.pid)
    await notifier.burst(events)
    received = _checked(await pages.answer())
    return {
        "deliveries_per_cpu_s": count * events / (processes.cpu_seconds(notifier.process.pid) - cpu),
        "p50_ms": received["p50_ms"],
        "p99_ms": received["p99_ms"],
        "writes_each": (processes.writes(notifier.process.pid) - writes) / count,
        "received_each_kib": received["bytes"] / count / 1024,
    }


async def _reconnect(notifier: Notifier, pages: Pages, count: int) -> Figures:
    await _arrive(notifier, pages, count)
    await pages.ask("drop")
    for _ in range(_MISSED):
        await notifier.publish()
    cpu = processes.cpu_seconds(notifier.process.pid)
    caught_up = await pages.ask("reconnect", behind=_MISSED, limit=90.0)
    cpu = processes.cpu_seconds(notifier.process.pid) - cpu
    # One event for all shows that they receive live events again.
    await pages.expect(1)
    await notifier.publish()
    live = _checked(await pages.answer())
    return {
        "seconds": _checked(caught_up)["seconds"],
        "cpu_seconds": cpu,
        "missing": caught_up["waiting"] + live["waiting"],
        "gaps": caught_up["gaps"] + live["gaps"],
        "resets": caught_up["resets"] + live["resets"],
    }


async def _arrive(notifier: Notifier, pages: Pages, count: int) -> None:
    """Connect all pages, and wait until each has received a first event."""
    opened = await pages.ask("connect", count=count)
    if opened["failed"]:
        raise Failed(f"{opened['failed']} of {count:,} could not connect")
    await pages.expect(1)
    await notifier.publish()
    _checked(await pages.answer())


def _checked(received: Any) -> Any:
    if received["waiting"] or received["gaps"]:
        raise Failed(f"{received['waiting']:,} clients did not get all events, {received['gaps']:,} gaps")
    return received


def _entrant(lab: Lab, name: str, setting: str, measure: _Measure, count: int) -> Entrant:
    return Entrant(name, setting, partial(_once, lab, _NOTIFIERS[name], measure, count))


async def _once(lab: Lab, start: _Start, measure: _Measure, count: int) -> Figures:
    async with start(lab) as notifier, _pages(notifier, lab.logs) as pages, asyncio.timeout(180):
        return await measure(notifier, pages, count)


@contextlib.asynccontextmanager
async def _pages(notifier: Notifier, logs: Path) -> AsyncIterator[Pages]:
    command = [sys.executable, "-m", "bench.drivers.sse_clients", notifier.address, notifier.path, notifier.pattern]
    async with processes.running(command, logs / "pages.log", {"PYTHONPATH": str(ROOT)}) as process:
        yield Pages(process)
