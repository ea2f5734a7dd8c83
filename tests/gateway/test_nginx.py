"""The stream behind nginx as Debian ships it, without any setting for streams."""

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from tests.support.network.http_client import Client
from tests.support.network.ports import free_port
from tests.support.service.gateway import running_gateway
from tests.support.waiting import eventually

NGINX = shutil.which("nginx", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin")
pytestmark = pytest.mark.skipif(NGINX is None, reason="nginx is not installed (Debian's package nginx)")

CONFIGURATION = """
    daemon off;
    master_process off;
    pid {folder}/pid;
    error_log stderr;
    events {{ }}
    http {{
        access_log off;
        client_body_temp_path {folder}/client;
        proxy_temp_path {folder}/proxy;
        fastcgi_temp_path {folder}/fastcgi;
        uwsgi_temp_path {folder}/uwsgi;
        scgi_temp_path {folder}/scgi;
        upstream gateway {{ server 127.0.0.1:{port}; keepalive 4; }}
        server {{
            listen unix:{folder}/socket;
            location / {{ proxy_pass http://gateway; {more} }}
        }}
    }}
"""
# The shortest configuration, with which nginx speaks HTTP/1.0 to the gateway, and one with kept connections.
AS_SHIPPED, KEEP_ALIVE = "", 'proxy_http_version 1.1; proxy_set_header Connection "";'
BOTH_WAYS = pytest.mark.parametrize("more", [AS_SHIPPED, KEEP_ALIVE], ids=["as shipped", "keep-alive"])


@asynccontextmanager
async def behind_nginx(gateway: aiohttp.ClientSession, folder: Path, more: str) -> AsyncIterator[Client]:
    """Run nginx before the gateway. Yields a client whose requests go through it."""
    assert NGINX is not None
    assert gateway._base_url is not None
    configuration = folder / "nginx.conf"
    configuration.write_text(CONFIGURATION.format(folder=folder, port=gateway._base_url.port, more=more))
    process = await asyncio.create_subprocess_exec(NGINX, "-p", str(folder), "-c", str(configuration), "-e", "stderr")
    connector = aiohttp.UnixConnector(str(folder / "socket"))
    try:
        async with aiohttp.ClientSession("http://nginx", connector=connector) as http:
            client = Client(http)

            async def answers() -> bool:
                assert process.returncode is None, "nginx did not start"
                try:
                    return (await client.get("/healthz")).status == 200
                except aiohttp.ClientConnectorError:
                    return False

            await eventually(answers)
            yield client
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


@BOTH_WAYS
async def test_events_arrive_as_they_happen(server: str, tmp_path: Path, more: str) -> None:
    async with (
        running_gateway(server) as gateway,
        behind_nginx(gateway, tmp_path, more) as client,
        client.listen() as page,
        client.listen("status=Ready&queue=true") as other,
    ):
        assert page.response.headers["Server"].startswith("nginx")
        await other.event("queue")
        for model_id in range(1, 6):
            await client.announce(model_id)
            assert await page.models(1) == [model_id]
            assert await other.models(1) == [model_id]


@BOTH_WAYS
async def test_heartbeats_arrive(server: str, tmp_path: Path, more: str) -> None:
    async with (
        running_gateway(server, heartbeat=0.15) as gateway,
        behind_nginx(gateway, tmp_path, more) as client,
        client.listen() as page,
    ):
        for _ in range(3):
            while not (await page.frame()).comments:
                pass


@BOTH_WAYS
async def test_a_long_past_arrives_whole(server: str, tmp_path: Path, more: str) -> None:
    async with (
        running_gateway(server, ring_notifications=1_000) as gateway,
        behind_nginx(gateway, tmp_path, more) as client,
    ):
        await client.enqueue_many(range(1, 5_001))
        async with client.listen("after=earliest") as page:
            assert await page.models(5_000) == list(range(1, 5_001))


@BOTH_WAYS
async def test_a_page_goes_on_where_it_was_when_the_gateway_was_away(server: str, tmp_path: Path, more: str) -> None:
    async with AsyncExitStack() as stack:
        direct = Client(await stack.enter_async_context(running_gateway(server)))
        port = free_port()
        async with AsyncExitStack() as first:
            gateway = await first.enter_async_context(running_gateway(server, http_port=port))
            client = await stack.enter_async_context(behind_nginx(gateway, tmp_path, more))
            page = await stack.enter_async_context(client.listen())
            await client.announce(1)
            cursor = (await page.event()).id
        with pytest.raises(EOFError):  # an orderly end, not a broken connection
            await page.event()
        await direct.announce(2)
        assert (await client.get("/readyz")).status == 502

        await stack.enter_async_context(running_gateway(server, http_port=port))
        await eventually(lambda: _is_there(client))
        page = await stack.enter_async_context(client.listen(**{"Last-Event-ID": cursor}))
        assert await page.models(1) == [2]
        await client.announce(3)
        assert await page.models(1) == [3]


async def _is_there(client: Client) -> bool:
    return (await client.get("/readyz")).status == 200
