"""JSON workers and producers through the gateway, beside the simplest proxy to the same RPCs."""

import contextlib
import json
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from functools import partial
from pathlib import Path

from bench.drivers.program import Figures
from bench.lab import Lab
from bench.reporting.results import Entrant, Part
from bench.running import processes, service
from bench.running.processes import Process
from bench.subjects.contenders import ROOT, THUMBQ

_ENVIRONMENT = {"PYTHONPATH": str(ROOT)}
_CONNECTIONS = 64
# Starts a translator of JSON in front of the server with this address.
_Front = Callable[[str, Path], AbstractAsyncContextManager[tuple[Process, str]]]


async def json_path(lab: Lab, part: Part) -> None:
    """Measure dequeue and complete, and enqueue."""

    def entrant(name: str, verb: str, jobs: int, connections: int, setting: str) -> Entrant:
        front = _proxy if name == "bare proxy" else service.gateway
        return Entrant(name, setting, partial(_measure, lab, front, verb, jobs, connections))

    jobs = lab.jobs(2_000 if lab.brief else 8_000)
    working, enqueuing = f"dequeue + complete, {_CONNECTIONS} connections", f"enqueue, {_CONNECTIONS} connections"
    ours = entrant("gateway", "work", jobs, _CONNECTIONS, working)
    proxy = entrant("bare proxy", "work", jobs, _CONNECTIONS, working)
    more = [
        entrant("gateway", "enqueue", jobs, _CONNECTIONS, enqueuing),
        entrant("bare proxy", "enqueue", jobs, _CONNECTIONS, enqueuing),
        entrant("gateway", "work", lab.jobs(500), 1, "dequeue + complete, 1 connection"),
        entrant("bare proxy", "work", lab.jobs(500), 1, "dequeue + complete, 1 connection"),
        entrant("gateway", "batch", max(4, lab.jobs(40_000) // 1_000), 2, "enqueue 1,000 a call, 2 connections"),
    ]
    await lab.compare(part, [ours, proxy, *([] if lab.brief else more)])
    lab.results.ratio("json_vs_proxy", part.ratio(ours.row, proxy.row, "requests_per_s"))


async def _measure(lab: Lab, front: _Front, verb: str, jobs: int, connections: int) -> Figures:
    async with lab.session(THUMBQ) as session:
        if verb == "work":
            await session.fill(-(-(jobs + connections) // 1_000) * 1_000)
            await session.database.settle()
        async with front(session.target, lab.logs) as (process, address):
            before = processes.cpu_seconds(process.pid)
            command = [sys.executable, "-m", "bench.drivers.http_load", verb, address, str(connections), str(jobs)]
            async with processes.running(command, lab.logs / "load.log", _ENVIRONMENT) as load:
                figures: Figures = json.loads(await load.line())
            figures["front_us_per_request"] = (
                (processes.cpu_seconds(process.pid) - before) / _requests(figures, jobs) * 1e6
            )
    return figures


def _requests(figures: Figures, jobs: int) -> float:
    return jobs * max(1.0, figures["requests_per_s"] / figures["jobs_per_s"])


@contextlib.asynccontextmanager
async def _proxy(server: str, logs: Path) -> AsyncIterator[tuple[Process, str]]:
    command = [sys.executable, "-m", "bench.subjects.proxy", server]
    async with processes.running(command, logs / "proxy.log", _ENVIRONMENT) as process:
        yield process, f"127.0.0.1:{int(await process.line())}"
