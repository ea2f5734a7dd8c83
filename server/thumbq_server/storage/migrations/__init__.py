"""The schema, as a line of revisions."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import asyncpg
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine
from sqlalchemy.pool import NullPool

from thumbq_server.storage.migrations.rights import check_rights
from thumbq_server.storage.migrations.state import SchemaState, State, mark, read_state, scripts
from thumbq_server.storage.postgres.errors import AWAY, UNDONE, Unavailable, as_unavailable
from thumbq_server.storage.postgres.hosts import hosts_of
from thumbq_server.storage.postgres.session_settings import PLAIN
from thumbq_server.storage.postgres.suitability import Unsuitable

# Any number will do, as long as every thumbq takes the same.
_ADVISORY_LOCK = 0x7468756D6271
# Servers of an older version go on while the tables are renewed, and lock them in orders of their own. An upgrade that
# waits for one of these locks gives back all that it has, and begins again: so none of them is ended by a deadlock.
_LOCK_TIMEOUT = "700ms"
_TRIES = 100
_PAUSES = 0.1, 0.5  # seconds


class _InTheWay(Unavailable):
    """Another transaction has what this one needs."""


async def upgrade(dsn: str, revision: str = "head") -> SchemaState:
    """Bring the database to a revision, and return how it was before. Any number of servers may do so at once.

    Newer tables that this version works with stay as they are. Raises Unsuitable when it does not, when the tables
    cannot be made, or when the role may not use those that are there, Unavailable when PostgreSQL goes away meanwhile.
    """
    for _ in range(_TRIES - 1):
        with suppress(_InTheWay):
            return await _try_to_upgrade(dsn, revision)
        await asyncio.sleep(random.uniform(*_PAUSES))
    return await _try_to_upgrade(dsn, revision)


async def _try_to_upgrade(dsn: str, revision: str) -> SchemaState:
    async with _connected(dsn) as connection:
        return await connection.run_sync(_upgrade, revision)


async def schema_state(dsn: str) -> SchemaState:
    """Return how the tables stand to this version.

    Raises Unsuitable when the role may not use them, Unavailable when PostgreSQL goes away meanwhile.
    """
    async with _connected(dsn) as connection:
        await connection.run_sync(check_rights)
        return await connection.run_sync(read_state)


@asynccontextmanager
async def _connected(dsn: str) -> AsyncIterator[AsyncConnection]:
    async def connect(**_: object) -> asyncpg.Connection:
        async with as_unavailable():
            return await hosts_of(dsn).connect(PLAIN)

    # Our own address: SQLAlchemy's URL knows neither sslmode nor several hosts.
    # Behind a pooler a name of SQLAlchemy's own would meet itself, at a backend that had an upgrade before.
    arguments = {"async_creator_fn": connect, "prepared_statement_cache_size": 0, "prepared_statement_name_func": str}
    engine = create_async_engine("postgresql+asyncpg://", connect_args=arguments, poolclass=NullPool)
    try:
        async with engine.begin() as connection:
            yield connection
    except DBAPIError as error:
        cause = error.orig.__cause__ if error.orig else None
        if isinstance(cause, (*UNDONE, asyncpg.LockNotAvailableError)):
            raise _InTheWay(f"Other programs use the tables of thumbq: {cause}") from error
        if isinstance(cause, AWAY):
            raise Unavailable(f"{type(cause).__name__}: {cause}") from error
        raise Unsuitable(f"The tables of thumbq cannot be made or renewed: {cause or error.orig}.") from error
    finally:
        await engine.dispose()


def _upgrade(connection: Connection, revision: str) -> SchemaState:
    connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _ADVISORY_LOCK})
    connection.execute(text(f"SET LOCAL lock_timeout = '{_LOCK_TIMEOUT}'"))
    check_rights(connection)
    before = read_state(connection)
    if before.state is State.TOO_NEW:
        raise Unsuitable(before.sentence)
    if not before.fits:
        _migrate(connection, revision)
        mark(connection)
    return before


def _migrate(connection: Connection, revision: str) -> None:
    # A start that migrates nothing does without alembic.
    from alembic import command
    from alembic.util.exc import CommandError

    config = scripts()
    config.attributes["connection"] = connection
    try:
        command.upgrade(config, revision)
    except CommandError as error:
        raise Unsuitable(f"The tables of thumbq cannot be made or renewed: {error}.") from error
