"""The schema, as a line of revisions."""

from pathlib import Path

import asyncpg
from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, text
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from thumbq_server.storage.postgres.hosts import hosts_of

# Any number will do, as long as every thumbq takes the same.
_ADVISORY_LOCK = 0x7468756D6271


async def upgrade(dsn: str, revision: str = "head") -> None:
    """Bring the database to a revision. Any number of servers may do so at once."""

    async def connect() -> asyncpg.Connection:
        return await hosts_of(dsn).connect({})

    # Our own address: SQLAlchemy's URL knows neither sslmode nor several hosts.
    engine = create_async_engine("postgresql+asyncpg://", async_creator=connect, poolclass=NullPool)
    try:
        async with engine.begin() as connection:
            await connection.run_sync(_upgrade, revision)
    finally:
        await engine.dispose()


def _upgrade(connection: Connection, revision: str) -> None:
    connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _ADVISORY_LOCK})
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    command.upgrade(config, revision)
