"""A whole service, driven through its JSON API as producers and workers would."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, Self

import aiohttp
import grpc
from aiohttp import web
from PIL import Image

from tests.support.network.ports import free_port
from tests.support.service.gateway import RestartableServer
from thumbq.v1.job_pb2 import ThumbnailStatus
from thumbq.v1.notification_pb2 import PublishTestNotificationRequest
from thumbq.v1.notification_pb2_grpc import NotificationServiceStub
from thumbq_gateway.app import running
from thumbq_gateway.settings import Settings

Json = dict[str, Any]


class Service:
    """A real server and a real gateway on free ports. Both can stop and start again at the same address."""

    def __init__(
        self, database_url: str, thumbnails: Path, http: aiohttp.ClientSession, gateway_settings: Json
    ) -> None:
        self._database_url = database_url
        self._server = RestartableServer(database_url)
        self._thumbnails = thumbnails
        self._http = http
        self._gateway_settings = gateway_settings
        self._gateway = AsyncExitStack()
        self.port = 0

    @classmethod
    @asynccontextmanager
    async def started(cls, database_url: str, thumbnails: Path, **gateway_settings: Any) -> AsyncIterator[Self]:
        async with aiohttp.ClientSession() as http:
            service = cls(database_url, thumbnails, http, gateway_settings)
            try:
                await service.start_server()
                await service.start_gateway()
                yield service
            finally:
                await service.stop_gateway()
                await service.stop_server()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    async def start_server(self, database_url: str | None = None) -> None:
        """Start the server, first on a free port, then always on the same one. Another database is another queue."""
        self._server = RestartableServer(database_url or self._database_url, port=self._server.port)
        await self._server.start()

    async def stop_server(self) -> None:
        await self._server.stop()

    async def start_gateway(self, **more_settings: Any) -> None:
        """Start the gateway, first on a free port, then always on the same one."""
        settings = Settings(
            server=self._server.address,
            http_port=self.port or free_port(),
            thumbnail_root=self._thumbnails,
            **self._gateway_settings | more_settings,
        )
        self.port = await self._gateway.enter_async_context(running(settings, asyncio.Event()))

    async def stop_gateway(self) -> None:
        await self._gateway.aclose()

    @asynccontextmanager
    async def refusing(self) -> AsyncIterator[asyncio.Event]:
        """Run a server that answers 503 at the gateway's address. Yields an event that is set at its first request."""
        asked = asyncio.Event()

        async def refuse(_request: web.BaseRequest) -> web.Response:
            asked.set()
            return web.Response(status=503)

        runner = web.ServerRunner(web.Server(refuse))
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", self.port).start()
        try:
            yield asked
        finally:
            await runner.cleanup()

    async def enqueue(self, model_id: int, *, force: bool = False) -> Json:
        model_hash = hashlib.sha256(str(model_id).encode()).hexdigest()
        return await self.post("api/thumbnail-jobs", {"modelId": model_id, "modelHash": model_hash, "force": force})

    async def enqueue_many(self, model_ids: range) -> None:
        jobs = [
            {"modelId": model_id, "modelHash": hashlib.sha256(str(model_id).encode()).hexdigest()}
            for model_id in model_ids
        ]
        await self.post("api/thumbnail-jobs", {"jobs": jobs})

    async def dequeue(self, worker_id: str = "worker-1") -> Json:
        """Dequeue the next job, and wait until one is due."""
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
        """Announce a test notification through the gateway."""
        await self.post(f"api/test/thumbnail-complete/{model_id}", notification)

    async def announce_at_server(self, model_id: int) -> None:
        """Announce a test notification at the server, while the gateway is away."""
        async with grpc.aio.insecure_channel(self._server.address) as channel:
            await NotificationServiceStub(channel).PublishTestNotification(
                PublishTestNotificationRequest(model_id=model_id, status=ThumbnailStatus.THUMBNAIL_STATUS_READY)
            )

    async def post(self, path: str, body: Json) -> Json:
        async with self._http.post(self.url + path, json=body) as response:
            response.raise_for_status()
            answer: Json = {} if response.status == 204 else await response.json()
            return answer
