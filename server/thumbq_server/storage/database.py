"""Connections to PostgreSQL: lanes for the hot path, a pool for the rest."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, Self, TypeVar

import asyncpg

T = TypeVar("T")

# A row of an answer: a tuple with names.
Row = asyncpg.Record

# 40001, 40P01: PostgreSQL undid the whole statement, so that saying it again is safe.
_UNDONE = (asyncpg.SerializationError, asyncpg.DeadlockDetectedError)
# Everything after which the caller may try again later.
_AWAY = (
    *_UNDONE,
    OSError,
    TimeoutError,
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    asyncpg.InsufficientResourcesError,
    asyncpg.OperatorInterventionError,
    asyncpg.PostgresSystemError,
    asyncpg.ObjectNotInPrerequisiteStateError,  # the database takes no connections, or is being copied
    asyncpg.ReadOnlySQLTransactionError,
    asyncpg.InvalidCatalogNameError,
    asyncpg.InvalidAuthorizationSpecificationError,
)
# All that lanes say goes by keys, in their order. A plan made while the tables were empty would read them whole, and be
# kept while they fill: to find 10,000 jobs took 9 s instead of 0.3. One by bitmap would lock rows in the order in which
# they lie, and deadlock with one by index.
_BY_KEY = {"enable_seqscan": "off", "enable_bitmapscan": "off", "plan_cache_mode": "force_generic_plan"}
_UNDONE_TRIES = 5
_CONNECT_TIMEOUT = 5.0


class Unavailable(Exception):
    """PostgreSQL cannot do this now. What was asked may or may not have been committed."""


@asynccontextmanager
async def translated() -> AsyncIterator[None]:
    """Turn the many ways in which PostgreSQL can be away into Unavailable."""
    try:
        yield
    except _AWAY as error:
        raise Unavailable(f"{type(error).__name__}: {error}") from error


async def connect(dsn: str, statement_timeout: float) -> asyncpg.Connection:
    """A connection with the session settings that every statement here relies on. Times in seconds."""
    return await asyncpg.connect(
        dsn,
        timeout=_CONNECT_TIMEOUT,
        command_timeout=statement_timeout + 5,
        server_settings=_session(statement_timeout) | _BY_KEY,
    )


def _session(statement_timeout: float) -> dict[str, str]:
    return {
        "application_name": "thumbq",
        "statement_timeout": str(int(statement_timeout * 1000)),
        "jit": "off",
        "TimeZone": "UTC",
    }


class Lane:
    """One connection that runs one kind of statement, one at a time; it reconnects when it has to.

    One claim and one completion at a time fill PostgreSQL best (docs/decisions/0003-lanes.md), and a connection of
    their own keeps their prepared statements warm.
    """

    def __init__(self, dsn: str, statement_timeout: float) -> None:
        self._dsn = dsn
        self._statement_timeout = statement_timeout
        self._connection: asyncpg.Connection | None = None
        self._lock = asyncio.Lock()

    async def fetch(self, sql: str, *arguments: object) -> list[asyncpg.Record]:
        """All rows of one statement, committed. Raises Unavailable."""
        return await self.run(lambda connection: connection.fetch(sql, *arguments))

    async def run(self, work: Callable[[Any], Awaitable[T]]) -> T:
        """What `work` returns for the connection. It must be safe to run again: so it is after a deadlock."""
        async with self._lock, translated():
            for tries_left in reversed(range(_UNDONE_TRIES)):
                try:
                    connection = self._connection
                    if connection is None or connection.is_closed():
                        connection = self._connection = await connect(self._dsn, self._statement_timeout)
                    return await work(connection)
                except _UNDONE:
                    if not tries_left:
                        raise
                except asyncpg.PostgresError:
                    raise
                except BaseException:
                    # broken off in the middle: what the connection is still busy with would disturb the next statement
                    self._drop()
                    raise
        raise AssertionError("unreachable")

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.terminate()
            self._connection = None

    async def close(self) -> None:
        """Close the connection, politely if it is idle."""
        if self._connection is not None:
            connection, self._connection = self._connection, None
            try:
                await connection.close(timeout=2)
            except (TimeoutError, *_AWAY):
                connection.terminate()


class Database:
    """Where one server process reaches PostgreSQL."""

    def __init__(self, dsn: str, *, statement_timeout: float = 30.0, pool_size: int = 4) -> None:
        self.dsn = dsn
        self._statement_timeout = statement_timeout
        self._pool_size = pool_size
        self._pool: asyncpg.Pool | None = None
        self._lanes: list[Lane] = []

    async def __aenter__(self) -> Self:
        async with translated():
            self._pool = await asyncpg.create_pool(
                self.dsn,
                min_size=1,
                max_size=self._pool_size,
                timeout=_CONNECT_TIMEOUT,
                command_timeout=self._statement_timeout + 5,
                server_settings=_session(self._statement_timeout),
            )
        return self

    async def __aexit__(self, *_: object) -> None:
        for lane in self._lanes:
            await lane.close()
        if self._pool is not None:
            try:
                await asyncio.wait_for(self._pool.close(), 3)
            except (TimeoutError, *_AWAY):
                self._pool.terminate()

    def lane(self) -> Lane:
        """A new lane, closed with the database."""
        lane = Lane(self.dsn, self._statement_timeout)
        self._lanes.append(lane)
        return lane

    async def fetch(self, sql: str, *arguments: object) -> list[asyncpg.Record]:
        """All rows of one statement on a pooled connection, committed. Raises Unavailable."""
        return await self.run(lambda connection: connection.fetch(sql, *arguments))

    async def run(self, work: Callable[[Any], Awaitable[T]]) -> T:
        """What `work` returns for a pooled connection. It must be safe to run again: so it is after a deadlock."""
        if self._pool is None:
            raise Unavailable("not connected")
        async with translated():
            for tries_left in reversed(range(_UNDONE_TRIES)):
                try:
                    async with self._pool.acquire(timeout=_CONNECT_TIMEOUT) as connection:
                        return await work(connection)
                except _UNDONE:
                    if not tries_left:
                        raise
        raise AssertionError("unreachable")


def columns(rows: Sequence[tuple[Any, ...]], count: int) -> list[Sequence[Any]]:
    """The columns of `rows`, as `unnest` wants them; `count` empty ones for no rows."""
    return list(zip(*rows, strict=True)) if rows else [()] * count
