"""The PostgreSQL of a run: thumbq's embedded one with its settings, shared by all contenders."""

import contextlib
import fcntl
import itertools
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import asyncpg

from thumbq_launcher.postgres.embedded import EmbeddedPostgres

_TABLES = """
    SELECT coalesce(sum(pg_table_size(oid) + pg_indexes_size(oid)), 0)::bigint AS bytes
      FROM pg_class WHERE relkind = 'r' AND oid >= 16384
"""


class Database:
    """The database of one measurement."""

    def __init__(self, dsn: str) -> None:
        self.dsn = dsn

    async def execute(self, statement: str) -> None:
        """Run a statement on a connection of its own."""
        async with _connection(self.dsn) as connection:
            await connection.execute(statement)

    async def row(self, query: str) -> dict[str, int]:
        """Return the only row of an answer, by column names."""
        async with _connection(self.dsn) as connection:
            row = await connection.fetchrow(query)
            assert row is not None
            return dict(row)

    async def settle(self) -> None:
        """Vacuum, analyze and checkpoint, so that earlier writes do not burden the next measurement."""
        await self.execute("VACUUM ANALYZE")
        await self.execute("CHECKPOINT")

    @contextlib.asynccontextmanager
    async def asking(self, query: str) -> AsyncIterator[Callable[[], Awaitable[int]]]:
        """Yield a function that runs a query for one number, always on the same connection."""
        async with _connection(self.dsn) as connection:
            statement = await connection.prepare(query)

            async def ask() -> int:
                return int(await statement.fetchval())

            yield ask

    async def wal_bytes(self) -> int:
        """Return the bytes of WAL that were ever written."""
        return (await self.row("SELECT (pg_current_wal_insert_lsn() - '0/0')::bigint AS bytes"))["bytes"]

    async def table_bytes(self) -> int:
        """Return the bytes of all tables and indexes, without what a vacuum gives back."""
        await self.execute("VACUUM")
        return (await self.row(_TABLES))["bytes"]

    async def any(self, query: str) -> bool:
        """Return whether the query finds a row."""
        return bool((await self.row(f"SELECT EXISTS ({query})::int AS found"))["found"])


class Cluster:
    """A running PostgreSQL that makes a database for each measurement."""

    def __init__(self, postgres: EmbeddedPostgres) -> None:
        self._postgres = postgres
        self._numbers = itertools.count(1)

    async def version(self) -> str:
        """Return the version, such as 18.1."""
        async with _connection(self._postgres.dsn) as connection:
            return str(await connection.fetchval("SHOW server_version"))

    @property
    def pid(self) -> int:
        """Process id of the postmaster."""
        assert self._postgres.process is not None
        return self._postgres.process.pid

    @property
    def log(self) -> Path:
        """PostgreSQL's log file."""
        return self._postgres.log

    def server(self) -> Database:
        """Return the maintenance database, for statements that concern the whole PostgreSQL."""
        return Database(self._postgres.dsn)

    @contextlib.asynccontextmanager
    async def database(self) -> AsyncIterator[Database]:
        """Create an empty database, and drop it afterwards."""
        name = f"bench_{next(self._numbers)}"
        server = self.server()
        await server.execute(f"CREATE DATABASE {name}")
        try:
            yield Database(urlunsplit(urlsplit(self._postgres.dsn)._replace(path=f"/{name}")))
        finally:
            await server.execute(f"DROP DATABASE {name} WITH (FORCE)")


@contextlib.contextmanager
def started(folder: Path) -> Iterator[Cluster]:
    """Start a new cluster in `folder`, on a unix socket. The folder is removed before and after.

    Raises SystemExit while another run of the bench uses the folder.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder.with_suffix(".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise SystemExit("another run of the bench is under way") from None
        shutil.rmtree(folder, ignore_errors=True)
        postgres = EmbeddedPostgres(folder)
        try:
            postgres.start()
            yield Cluster(postgres)
        finally:
            postgres.stop()
            shutil.rmtree(folder, ignore_errors=True)


@contextlib.asynccontextmanager
async def _connection(dsn: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(dsn)
    try:
        yield connection
    finally:
        await connection.close()
