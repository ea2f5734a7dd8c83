"""The good clients beside the fuzz, and the prober: `python -m tests.fuzz.company JOURNAL GATEWAY SERVER PROCESSES`.

A producer and a worker speak JSON, another worker uses the SDK, and a page follows all notifications. Each writes into
the journal when it was served, and each answer that it should not get.
"""

import asyncio
import json
import signal
import sys
from collections.abc import Coroutine
from typing import Any

import aiohttp
import grpc

from tests.fuzz.prober import probe_gateway, probe_server
from tests.support.programs import say_ready
from tests.system.chaos.actors.journal import Pen
from thumbq import Job, Thumbnail, Worker

CLIENTS = ("producer", "JSON worker", "SDK worker", "page")
_FIRST_MODEL = 1_000_000
_PAUSE = 0.2


class Company:
    """The good clients of one gateway and one server."""

    def __init__(self, http: aiohttp.ClientSession, server: str, pen: Pen) -> None:
        self._http = http
        self._server = server
        self._pen = pen

    async def produce(self) -> None:
        model = _FIRST_MODEL
        while True:
            model += 1
            body = {"modelId": model, "modelHash": f"{model:064x}"}
            if await self._post("producer", "", body, {200}) is not None:
                self._served("producer")
            await asyncio.sleep(_PAUSE)

    async def work_by_json(self) -> None:
        while True:
            job = await self._post("JSON worker", "/dequeue", {"workerId": "good-json", "wait": "1s"}, {200, 204})
            if not job:
                await asyncio.sleep(_PAUSE)
                continue
            body = {"thumbnailPath": "/thumbnails/good.png", "sizeBytes": 1, "width": 1, "height": 1}
            # The fuzz may cancel the job or report on it meanwhile; then the lease is refused with 400.
            answer = await self._post(
                "JSON worker", f"/{job['id']}/complete", {**body, "leaseToken": job["leaseToken"]}, {200, 400}
            )
            if answer is not None:
                self._served("JSON worker")

    async def work_by_grpc(self) -> None:
        async def handler(_job: Job) -> Thumbnail:
            await asyncio.sleep(0.005)
            self._served("SDK worker")
            return Thumbnail("/thumbnails/good.png", 1, 1, 1)

        async with Worker(self._server, worker_id="good-sdk", concurrency=2) as worker:
            await worker.run(handler)

    async def follow(self) -> None:
        """Follow all notifications, and check that none is missing."""
        last = ""
        while True:
            headers = {"Accept": "application/x-ndjson", **({"Last-Event-ID": last} if last else {})}
            try:
                async with self._http.get("/api/notifications", headers=headers) as response:
                    while line := await response.content.readline():
                        last = self._take(json.loads(line), last)
            except (OSError, TimeoutError, aiohttp.ClientError, ValueError) as error:
                self._pen.write("broken", "page", repr(error))
            await asyncio.sleep(_PAUSE)

    def _take(self, event: dict[str, Any], last: str) -> str:
        cursor: str = event.get("id", "") or last
        if event["event"] == "reset" and last:
            self._pen.write("complaint", "page", f"a reset at {cursor}, after {last}")
        if event["event"] == "thumbnail":
            self._served("page")
            if last and _seq(cursor) != _seq(last) + 1:
                self._pen.write("complaint", "page", f"event {cursor} came after {last}")
        return cursor

    async def _post(self, client: str, path: str, body: Any, expected: set[int]) -> Any:
        try:
            async with self._http.post(f"/api/thumbnail-jobs{path}", json=body) as response:
                text = await response.text()
        except (OSError, TimeoutError, aiohttp.ClientError) as error:
            self._pen.write("broken", client, repr(error))
            return None
        if response.status not in expected:
            self._pen.write("complaint", client, f"POST {path or '/'} was answered {response.status}: {text[:200]}")
            return None
        return json.loads(text) if response.status == 200 else {}

    def _served(self, client: str) -> None:
        self._pen.write("served", client)


def _seq(cursor: str) -> int:
    return int(cursor.rpartition("-")[2])


async def main(journal: str, gateway: str, server: str, gateway_process: int, server_process: int) -> None:
    pen = Pen(journal)
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    timeout = aiohttp.ClientTimeout(total=None, sock_read=30)
    async with (
        aiohttp.ClientSession(f"http://{gateway}", timeout=timeout) as http,
        grpc.aio.insecure_channel(server, options=[("grpc.enable_http_proxy", 0)]) as channel,
    ):
        company = Company(http, server, pen)
        duties: list[Coroutine[Any, Any, None]] = [
            company.produce(),
            company.work_by_json(),
            company.work_by_grpc(),
            company.follow(),
            probe_gateway(http, gateway_process, pen.write),
            probe_server(channel, server_process, pen.write),
        ]
        tasks = [asyncio.create_task(duty) for duty in duties]
        say_ready()
        await asyncio.wait([*tasks, asyncio.create_task(stop.wait())], return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            if task.done():
                task.result()
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


if __name__ == "__main__":
    _, journal, gateway, server, gateway_process, server_process = sys.argv
    asyncio.run(main(journal, gateway, server, int(gateway_process), int(server_process)))
