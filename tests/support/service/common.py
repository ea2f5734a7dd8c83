"""A server and a gateway for all tests that are marked `changes_nothing`: their requests are refused, or only read."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Self

import aiohttp
import asyncpg
import pytest

from tests.support.network.http_client import Client
from tests.support.service.gateway import running_gateway
from tests.support.service.server import running_server

# A signing key is the server's own.
_CHANGES = """
    SELECT (SELECT count(*) FROM jobs) + (SELECT count(*) FROM leases) + (SELECT count(*) FROM keys)
         + (SELECT count(*) FROM queue_pause) + (SELECT seq FROM queue_head)
"""


class CommonService:
    """An empty queue, which every test must leave empty."""

    def __init__(self, server: str, gateway: str, database: asyncpg.Connection) -> None:
        self._server = server
        self._gateway = gateway
        self._database = database

    @classmethod
    @asynccontextmanager
    async def started(cls, database_url: str, thumbnails: Path) -> AsyncIterator[Self]:
        database = await asyncpg.connect(database_url)
        try:
            async with (
                running_server(database_url) as server,
                running_gateway(server, thumbnail_root=thumbnails) as http,
            ):
                yield cls(server, str(http._base_url), database)
        finally:
            await database.close()

    @asynccontextmanager
    async def server(self) -> AsyncIterator[str]:
        """host:port of the server."""
        yield self._server
        assert await self._database.fetchval(_CHANGES) == 0, "the test is marked changes_nothing"

    @asynccontextmanager
    async def client(self) -> AsyncIterator[Client]:
        """A client of the gateway, with connections of its own."""
        async with self.server(), aiohttp.ClientSession(self._gateway) as http:
            yield Client(http)


def common_or_own(request: pytest.FixtureRequest, common: str, own: str) -> Any:
    """Return the value of the common fixture for a test that changes nothing, and for another one that of its own."""
    return request.getfixturevalue(common if request.node.get_closest_marker("changes_nothing") else own)
