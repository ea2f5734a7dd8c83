"""Pages on the SignalR hub: what a connection costs, how fast an event reaches all, and whether idle ones stay.

And workers on the JSON routes: how long an event of a job takes.

python -m bench.studies.hubs [--connections 1000] [--idle 120]
"""

import argparse
import asyncio
import json
import tempfile
import time
from pathlib import Path
from typing import cast

import aiohttp
import psutil
import uvloop

from bench.running import service
from thumbq_launcher.postgres.embedded import EmbeddedPostgres

_EVENTS = 20
_LINES = 500


class Page(asyncio.Protocol):
    """One client, as light as can be, since the gateway is measured and not the client."""

    def __init__(self) -> None:
        self.delays: list[float] = []
        self.announced_at = 0.0
        self.is_open = False
        self.joined = asyncio.get_running_loop().create_future()
        self._transport: asyncio.WriteTransport | None = None

    @classmethod
    async def connected(cls, http: aiohttp.ClientSession, address: str) -> "Page":
        """A page that has joined all models."""
        async with http.post("/thumbnailHub/negotiate?negotiateVersion=1") as answer:
            token = (await answer.json())["connectionToken"]
        host, port = address.split(":")
        _, page = await asyncio.get_running_loop().create_connection(cls, host, int(port))
        page.ask(
            f"GET /thumbnailHub?id={token} HTTP/1.1\r\nHost: {address}\r\nUpgrade: websocket\r\n"
            "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
        )
        page.say({"protocol": "json", "version": 1})
        page.say({"type": 1, "invocationId": "joined", "target": "JoinAllModelsGroup", "arguments": []})
        await page.joined
        return page

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.WriteTransport", transport)  # uvloop's is of no class of asyncio's
        self.is_open = True

    def ask(self, request: str) -> None:
        assert self._transport is not None
        self._transport.write(request.encode())

    def say(self, message: object) -> None:
        """In a frame whose mask changes nothing."""
        assert self._transport is not None
        payload = (json.dumps(message) + "\x1e").encode()
        self._transport.write(b"\x81" + bytes([0x80 | len(payload)]) + bytes(4) + payload)

    def data_received(self, data: bytes) -> None:
        if (count := data.count(b"ThumbnailStatusChanged")) and self.joined.done():
            self.delays += [time.perf_counter() - self.announced_at] * count
        elif b'"joined"' in data:
            self.joined.set_result(None)

    def connection_lost(self, _exc: Exception | None) -> None:
        self.is_open = False


async def keep_alive(pages: list[Page]) -> None:
    """Send the pings that a client owes every 15 s."""
    while True:
        await asyncio.sleep(15)
        for page in pages:
            page.say({"type": 6})


async def measure(
    http: aiohttp.ClientSession, address: str, gateway: psutil.Process, connections: int, idle: float
) -> None:
    """Print the figures."""
    before = gateway.memory_info().rss
    pages: list[Page] = []
    while len(pages) < connections:
        pages += await asyncio.gather(
            *[Page.connected(http, address) for _ in range(min(50, connections - len(pages)))]
        )
    pings = asyncio.create_task(keep_alive(pages))
    await asyncio.sleep(2)
    each = (gateway.memory_info().rss - before) / connections / 1024
    print(f"{connections:,} connections: {each:.1f} KiB each")
    for number in range(_EVENTS):
        for page in pages:
            page.announced_at = time.perf_counter()
        async with http.post(f"/api/test/thumbnail-complete/{number + 1}", json={"status": "Ready"}) as answer:
            assert answer.status == 200
        await asyncio.sleep(1)
    delays = sorted(delay for page in pages for delay in page.delays)
    assert len(delays) == _EVENTS * connections, f"{len(delays)} of {_EVENTS * connections} arrived"
    p50, p99 = (1000 * delays[int(len(delays) * part)] for part in (0.5, 0.99))
    print(f"{_EVENTS} events to all: p50 {p50:.1f} ms, p99 {p99:.1f} ms, longest {1000 * delays[-1]:.1f} ms")
    await asyncio.sleep(idle)
    print(f"after {idle:g} s idle: {sum(page.is_open for page in pages):,} of {connections:,} connected")
    pings.cancel()


async def measure_events(http: aiohttp.ClientSession) -> None:
    """Print how long a worker waits for each line that it writes into the log of its job."""
    job = {"modelId": 1, "modelHash": "0" * 64}
    async with http.post("/api/thumbnail-jobs", json=job) as answer:
        job_id = (await answer.json())["jobId"]
    async with http.post("/api/thumbnail-jobs/dequeue", json={"workerId": "bench"}) as answer:
        assert answer.status == 200
    event = {"eventType": "ModelLoaded", "message": "12 triangles", "metadata": '{"memory": 1}', "errorMessage": None}
    waits = []
    for _ in range(_LINES):
        asked = time.perf_counter()
        async with http.post(f"/api/thumbnail-jobs/{job_id}/events", json=event) as answer:
            assert answer.status == 200
            await answer.read()
        waits.append(1000 * (time.perf_counter() - asked))
    waits.sort()
    print(
        f"{_LINES} events of a job, one by one: p50 {waits[_LINES // 2]:.1f} ms, p99 {waits[_LINES * 99 // 100]:.1f} ms"
    )


async def main() -> None:
    """Start what is measured."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--connections", type=int, default=1000)
    parser.add_argument("--idle", type=float, default=120.0)
    wanted = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, EmbeddedPostgres(Path(folder) / "postgres") as dsn:
        logs = Path(folder)
        async with (
            service.server(dsn, logs) as (_, grpc),
            service.gateway(grpc, logs) as (process, address),
            aiohttp.ClientSession(f"http://{address}", connector=aiohttp.TCPConnector(limit=0)) as http,
        ):
            await measure_events(http)
            await measure(http, address, psutil.Process(process.pid), wanted.connections, wanted.idle)


if __name__ == "__main__":
    uvloop.run(main())
