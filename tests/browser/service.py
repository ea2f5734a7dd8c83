"""The service that the page is from, driven through its JSON API as producers and workers would."""

import asyncio
import hashlib
import os
import sys
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import aiohttp
from PIL import Image

from thumbq_server.supervisor import Program, ended

Json = dict[str, Any]


class Service:
    """One server and one gateway, as processes of their own."""

    def __init__(self, database_url: str, folder: Path) -> None:
        self._thumbnails = folder / "thumbnails"
        self._thumbnails.mkdir()
        environment = os.environ | {
            "DATABASE_URL": database_url,
            "THUMBQ_THUMBNAIL_ROOT": str(self._thumbnails),
        }
        self._server = self._program("server", environment, "THUMBQ_GRPC_PORT")
        self._gateway = self._program("gateway", environment, "THUMBQ_HTTP_PORT")

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._gateway.port}/"

    async def __aenter__(self) -> Self:
        await self._server.launch()
        self._gateway.environment["THUMBQ_SERVER"] = f"127.0.0.1:{self._server.port}"
        await self._gateway.launch()
        self._http = aiohttp.ClientSession()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._http.close()
        await self._stop(self._gateway)
        await self._stop(self._server)

    async def stop_gateway(self) -> None:
        await self._stop(self._gateway)

    async def start_gateway(self) -> None:
        """Start it again, on the same port."""
        await self._gateway.launch()

    async def enqueue(self, model_id: int, *, force: bool = False) -> Json:
        model_hash = hashlib.sha256(str(model_id).encode()).hexdigest()
        return await self.post(
            "api/thumbnail-jobs", {"modelId": model_id, "modelHash": model_hash, "force": force}
        )

    async def enqueue_many(self, model_ids: range) -> None:
        jobs = [
            {"modelId": model_id, "modelHash": hashlib.sha256(str(model_id).encode()).hexdigest()}
            for model_id in model_ids
        ]
        await self.post("api/thumbnail-jobs", {"jobs": jobs})

    async def dequeue(self, worker_id: str = "worker-1") -> Json:
        """Take the next job, waiting until one is due."""
        while True:
            job = await self.post("api/thumbnail-jobs/dequeue", {"workerId": worker_id, "wait": "10s"})
            if job:
                return job

    async def complete(self, job: Json, colour: str = "teal") -> None:
        path = self._thumbnails / f"{job['id']}-{colour}.png"
        await asyncio.to_thread(Image.new("RGB", (256, 256), colour).save, path)
        await self.post(
            f"api/thumbnail-jobs/{job['id']}/complete",
            {"thumbnailPath": str(path), "sizeBytes": path.stat().st_size, "width": 256, "height": 256},
        )

    async def fail(self, job: Json, message: str) -> None:
        await self.post(f"api/thumbnail-jobs/{job['id']}/fail", {"errorMessage": message})

    async def announce(self, model_id: int, **notification: str) -> None:
        """A notification that no worker caused."""
        await self.post(f"api/test/thumbnail-complete/{model_id}", notification)

    async def post(self, path: str, body: Json) -> Json:
        async with self._http.post(self.url + path, json=body) as response:
            response.raise_for_status()
            answer: Json = {} if response.status == 204 else await response.json()
            return answer

    @staticmethod
    def _program(role: str, environment: dict[str, str], port_variable: str) -> Program:
        return Program(role, [sys.executable, "-m", f"thumbq_{role}"], environment, port_variable, 0)

    @staticmethod
    async def _stop(program: Program) -> None:
        if program.process and program.process.poll() is None:
            program.process.terminate()
            await ended(program.process)
