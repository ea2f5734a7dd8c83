"""The schema, as a line of revisions."""

from pathlib import Path

import asyncpg
from alembic import command
from alembic.config import Config
from alembic.util.exc import CommandError
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from thumbq_server.storage.postgres.errors import AWAY, Unavailable
from thumbq_server.storage.postgres.hosts import hosts_of
from thumbq_server.storage.postgres.session_settings import PLAIN
from thumbq_server.storage.postgres.suitability import Unsuitable

# Any number will do, as long as every thumbq takes the same.
_ADVISORY_LOCK = 0x7468756D6271


async def upgrade(dsn: str, revision: str = "head") -> None:
    """Bring the database to a revision. Any number of servers may do so at once.

    Raises Unsuitable when it cannot be brought there, Unavailable when PostgreSQL goes away meanwhile.
    """

    async def connect() -> asyncpg.Connection:
        return await hosts_of(dsn).connect(PLAIN)

    # Our own address: SQLAlchemy's URL knows neither sslmode nor several hosts.
    engine = create_async_engine("postgresql+asyncpg://", async_creator=connect, poolclass=NullPool)
    try:
        async with engine.begin() as connection:
            await connection.run_sync(_upgrade, revision)
    except CommandError as error:
        raise Unsuitable(f"The tables in the database belong to another version of thumbq: {error}.") from error
    except DBAPIError as error:
        cause = error.orig.__cause__ if error.orig else None
        if isinstance(cause, AWAY):
            raise Unavailable(f"{type(cause).__name__}: {cause}") from error
        raise Unsuitable(f"The tables of thumbq cannot be made or renewed: {cause or error.orig}.") from error
    finally:
        await engine.dispose()


def _upgrade(connection: Connection, revision: str) -> None:
    connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _ADVISORY_LOCK})
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    command.upgrade(config, revision)
