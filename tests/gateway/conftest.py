"""Fixtures of the gateway's tests: a server, a gateway before it, and a client of both, for each test its own."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.gateway.service import Client, RestartableServer, running_gateway
from tests.support.server import running_server


@pytest.fixture
async def server(database_url: str) -> AsyncIterator[str]:
    """host:port of a gRPC server."""
    async with running_server(database_url) as address:
        yield address


@pytest.fixture
def thumbnail_root(tmp_path: Path) -> Path:
    """The folder whose files the gateway may serve."""
    root = tmp_path / "thumbnails"
    root.mkdir()
    return root


@pytest.fixture
async def client(server: str, thumbnail_root: Path) -> AsyncIterator[Client]:
    """A client of a gateway before the server."""
    async with running_gateway(server, thumbnail_root=thumbnail_root) as http:
        yield Client(http)


@pytest.fixture
async def restartable(database_url: str) -> AsyncIterator[RestartableServer]:
    """A running server that a test may stop and start."""
    server = RestartableServer(database_url)
    await server.start()
    yield server
    await server.stop()
