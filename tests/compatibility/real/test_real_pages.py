"""The client library of the pages, over each transport, before one gateway and before several."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest

from tests.compatibility.hubs.wire import address
from tests.compatibility.programs import Program
from tests.support.network.http_client import Client
from tests.support.network.ports import free_port
from tests.support.service.gateway import running_gateway
from thumbq_gateway.app import running
from thumbq_gateway.settings import Settings

pytestmark = pytest.mark.node
TRANSPORTS = ["WebSockets", "ServerSentEvents", "LongPolling"]


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_a_page_hears_of_its_models_over_any_transport(client: Client, transport: str) -> None:
    groups = ["Model:42", "ModelVersion:7", "AllEnvironmentMaps"]
    async with Program.started("page", address(client.http), transport, *groups) as page:
        assert (await page.says("changed"))["changed"]["status"] == "Pending"
        joined = await page.says("state", "joined")
        assert "Unknown hub method 'NoSuchMethod'." in joined["unknown"]
        for count in range(3):
            await client.announce(41)
            await client.announce(42, errorMessage=f"number {count}", status="Failed")
            changed = (await page.says("changed"))["changed"]
            assert (changed["modelId"], changed["errorMessage"]) == (42, f"number {count}")
        assert await page.end() == 0


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_a_page_shows_hundreds_of_models(client: Client, transport: str) -> None:
    groups = [f"Model:{model_id}" for model_id in range(1, 451)]
    async with Program.started("page", address(client.http), transport, *groups) as page:
        await page.says("state", "joined")
        assert await page.end() == 0


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_a_page_is_served_by_gateways_that_share_a_port(server: str, transport: str) -> None:
    """Each request may reach another of them; with four, hardly any connection is lucky enough to miss this."""
    async with _gateways(server, 4) as url, aiohttp.ClientSession(url) as http:
        client = Client(http)
        async with Program.started("page", url, transport, "Model:42", "AllModels") as page:
            await page.says("state", "joined")
            await client.announce(42)
            assert (await page.says("changed"))["changed"]["modelId"] == 42
            assert await page.end() == 0


@asynccontextmanager
async def _gateways(server: str, count: int) -> AsyncIterator[str]:
    broken = asyncio.Event()
    with socket.socket() as reserved:
        reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        reserved.bind(("127.0.0.1", 0))
        port = reserved.getsockname()[1]
        chosen = Settings(server=server, http_port=port, reuse_port=True, hub_secret="shared", queue_watch_linger=0)
        contexts: list[Any] = [running(chosen, broken) for _ in range(count)]
        for context in contexts:
            await context.__aenter__()
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            for context in contexts:
                await context.__aexit__(None, None, None)


async def test_a_page_comes_back_to_a_gateway_that_restarts(server: str) -> None:
    port = free_port()
    async with running_gateway(server, http_port=port) as http:
        url = address(http)
        page_context = Program.started("page", url, "WebSockets", "AllModels")
        page = await page_context.__aenter__()
        await page.says("state", "joined")
    try:
        await page.says("state", "reconnecting")
        async with running_gateway(server, http_port=port) as http:
            await Client(http).announce(7)
            assert (await page.says("changed"))["changed"]["modelId"] == 7
            await Client(http).announce(8)
            while (await page.says("changed"))["changed"]["modelId"] != 8:
                pass
    finally:
        await page_context.__aexit__(None, None, None)
