"""A flood by one address is refused, and the callers of another address are not. `make flood` measures the times."""

import asyncio
import re
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import pytest

from tests.support.network.http_client import Client
from tests.support.service.gateway import running_gateway
from tests.support.service.server import running_server
from tests.support.waiting import eventually

PICTURE = {"thumbnailPath": "/var/lib/thumbnails/1.png", "sizeBytes": 1, "width": 1, "height": 1}


@pytest.fixture
async def http(database_url: str) -> AsyncIterator[aiohttp.ClientSession]:
    """A gateway whose rates a slow machine reaches too."""
    async with (
        running_server(database_url) as server,
        running_gateway(server, rate_of_polls=2) as session,
    ):
        yield session


@asynccontextmanager
async def flooded(http: aiohttp.ClientSession, flood: str) -> AsyncIterator[None]:
    base = http._base_url
    assert base is not None
    command = ["nice", "-n", "19", sys.executable, "-m", "bench.flood.floods", flood, f"{base.host}:{base.port}", ""]
    flooding = await asyncio.create_subprocess_exec(*command)
    try:
        yield
        assert flooding.returncode is None
    finally:
        flooding.kill()
        await flooding.wait()


async def work(client: Client) -> None:
    """Do what a producer and a JSON worker do. The flood may have got the job."""
    for model_id in range(1, 4):
        await client.enqueue(model_id)
        claim = await client.post("/api/thumbnail-jobs/dequeue", {"workerId": "good-worker"})
        assert claim.status in {200, 204}, claim.text
        if claim.status == 200:
            answer = await client.post(f"/api/thumbnail-jobs/{claim.json['id']}/complete", PICTURE)
            assert answer.status == 200, answer.text


async def test_pollers_are_refused_and_others_are_served(http: aiohttp.ClientSession) -> None:
    client = Client(http)

    async def refused() -> bool:
        counted = re.search(r'refused_total\{kind="polls"\} (\d+)', (await client.get("/metrics")).text)
        return counted is not None and int(counted[1]) > 20

    async with flooded(http, "pollers"):
        await eventually(refused, 120)
        await work(client)


@pytest.mark.parametrize("flood", ["slow_openings", "big_bodies", "upload_of_4_gb"])
async def test_connections_and_bodies_of_one_address_keep_no_other_from_its_work(
    http: aiohttp.ClientSession, flood: str
) -> None:
    async with flooded(http, flood):
        await work(Client(http))
