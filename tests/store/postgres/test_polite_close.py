"""Connections that are closed while their host does not answer."""

from tests.support.postgres.freezing import freezing_host
from thumbq_server.storage.postgres.address import parse_address
from thumbq_server.storage.postgres.session_settings import close, connect


async def test_a_connection_to_a_host_that_froze_is_broken_off(database_url):
    """A server that has looked at its database, and leaves that connection, must not fail to start for it."""
    address = parse_address(database_url)
    async with freezing_host(database_url) as host:
        dsn = f"postgresql://{address.user}@127.0.0.1:{host.port}/{address.database}?sslmode=disable"
        connection = await connect(dsn, statement_timeout=30.0)
        assert await connection.fetchval("SELECT 1") == 1
        host.frozen = True
        await close(connection, 0.05)
        assert connection.is_closed()
