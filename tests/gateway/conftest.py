"""Fixtures of the gateway's tests. Each test has its own server, gateway and client, unless it changes nothing."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.network.http_client import Client
from tests.support.service.common import common_or_own
from tests.support.service.gateway import RestartableServer, running_gateway
from tests.support.service.server import running_server


@pytest.fixture
def server(request: pytest.FixtureRequest) -> str:
    """host:port of a gRPC server."""
    address: str = common_or_own(request, "common_server", "own_server")
    return address


@pytest.fixture
async def own_server(database_url: str) -> AsyncIterator[str]:
    """Run a gRPC server. Yields its host:port."""
    async with running_server(database_url) as address:
        yield address


@pytest.fixture
def thumbnail_root(tmp_path: Path) -> Path:
    """Make the folder whose files the gateway may serve."""
    root = tmp_path / "thumbnails"
    root.mkdir()
    return root


@pytest.fixture
def client(request: pytest.FixtureRequest) -> Client:
    """A client of a gateway."""
    found: Client = common_or_own(request, "common_client", "own_client")
    return found


@pytest.fixture
async def own_client(server: str, thumbnail_root: Path) -> AsyncIterator[Client]:
    """Run a gateway before the server. Yields a client of it."""
    async with running_gateway(server, thumbnail_root=thumbnail_root) as http:
        yield Client(http)


@pytest.fixture
async def restartable(database_url: str) -> AsyncIterator[RestartableServer]:
    """Run a server that the test may stop and start."""
    server = RestartableServer(database_url)
    await server.start()
    yield server
    await server.stop()
