"""How long an event loop stands still, measured from outside, without the time in which the machine was busy.

Each probe is a call that a loop answers by itself, without PostgreSQL. The kernel counts for every thread how long it
was ready to run and had no processor. That time is the machine's, not the service's, so it is taken off.
"""

import asyncio
import contextlib
import os
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import aiohttp
import grpc

from thumbq.v1.queue_pb2 import DequeueJobRequest
from thumbq.v1.queue_pb2_grpc import QueueServiceStub

Note = Callable[..., None]
INTERVAL = 0.05
_TIMEOUT = 30.0


async def probe_gateway(http: aiohttp.ClientSession, process: int, note: Note) -> None:
    """Ask the gateway whether it lives, again and again."""

    async def ask() -> None:
        async with http.get("/healthz") as response:
            await response.read()

    await _probe("gateway", ask, process, note)


async def probe_server(channel: grpc.aio.Channel, process: int, note: Note) -> None:
    """Make a call that the server refuses at once, again and again."""
    stub = QueueServiceStub(channel)

    async def ask() -> None:
        with contextlib.suppress(grpc.aio.AioRpcError):
            await stub.DequeueJob(DequeueJobRequest(), timeout=_TIMEOUT)

    await _probe("server", ask, process, note)


async def _probe(name: str, ask: Callable[[], Awaitable[None]], process: int, note: Note) -> None:
    while True:
        before = _waits(process), _waits(os.getpid())
        started = time.monotonic()
        try:
            async with asyncio.timeout(_TIMEOUT):
                await ask()
        except (OSError, TimeoutError, aiohttp.ClientError):
            pass  # the run sees by itself when a process has ended
        elapsed = time.monotonic() - started
        after = _waits(process), _waits(os.getpid())
        busy = sum(_longest(was, now) for was, now in zip(before, after, strict=True))
        note("probe", name, round(elapsed, 4), round(max(0.0, elapsed - busy), 4))
        await asyncio.sleep(INTERVAL)


def _waits(process: int) -> dict[str, float]:
    """Return by thread the seconds for which it has waited for a processor."""
    waits = {}
    for task in Path(f"/proc/{process}/task").glob("*"):
        with contextlib.suppress(OSError, IndexError):
            waits[task.name] = int((task / "schedstat").read_text().split()[1]) / 1e9
    return waits


def _longest(before: dict[str, float], after: dict[str, float]) -> float:
    return max((wait - before.get(thread, 0.0) for thread, wait in after.items()), default=0.0)
