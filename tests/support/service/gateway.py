"""A real gateway in this process, and a server that can stop and start."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import aiohttp

from tests.support.network.name_server import named
from tests.support.network.ports import free_port
from tests.support.service.server import running_server
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

    def __init__(self, database_url: str, host: str = "127.0.0.1", port: int = 0) -> None:
        self.database_url = database_url
        self.host = host
        self.port = port or free_port()
        self._context: Any = None

    @property
    def address(self) -> str:
        return f"{self.host}:{self.port}"

    async def start(self) -> None:
        self._context = running_server(self.database_url, grpc_host=self.host, grpc_port=self.port)
        await self._context.__aenter__()

    async def stop(self) -> None:
        if self._context:
            await self._context.__aexit__(None, None, None)
        self._context = None


@asynccontextmanager
async def two_servers(database_url: str) -> AsyncIterator[list[RestartableServer]]:
    """Run two servers at the same port of two addresses, as on two machines."""
    first = RestartableServer(database_url)
    both = [first, RestartableServer(database_url, host="127.0.0.2", port=first.port)]
    async with AsyncExitStack() as stack:
        for server in both:
            await server.start()
            stack.push_async_callback(server.stop)
        yield both


@asynccontextmanager
async def target_of(servers: list[RestartableServer], *, by_name: bool) -> AsyncIterator[str]:
    """Yield an address that names these servers: their addresses, or a name that they have in common."""
    if by_name:
        async with named([server.host for server in servers]) as name:
            yield f"{name}:{servers[0].port}"
    else:
        yield f"ipv4:{','.join(server.address for server in servers)}"
