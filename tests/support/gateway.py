"""A real gateway in this process, and a server that can stop and start."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp

from tests.support.ports import free_port
from tests.support.server import running_server
from thumbq_gateway.app import running
from thumbq_gateway.settings import Settings


@asynccontextmanager
async def running_gateway(server: str, **settings: Any) -> AsyncIterator[aiohttp.ClientSession]:
    """Run a gateway on a free port until the block ends. Yields a session whose paths lead to it."""
    chosen = Settings(**{"http_port": 0, "server": server, "queue_watch_linger": 0, **settings})
    broken = asyncio.Event()
    async with running(chosen, broken) as port, aiohttp.ClientSession(f"http://127.0.0.1:{port}") as http:
        yield http
        assert not broken.is_set()


class RestartableServer:
    """A server that can stop and start again at the same address."""

    def __init__(self, database_url: str) -> None:
        self.database_url = database_url
        self._context: Any = None
        self.address = ""

    async def start(self) -> None:
        port = self.address.rpartition(":")[2]
        self._context = running_server(self.database_url, grpc_port=int(port) if port else free_port())
        self.address = await self._context.__aenter__()

    async def stop(self) -> None:
        if self._context:
            await self._context.__aexit__(None, None, None)
        self._context = None
