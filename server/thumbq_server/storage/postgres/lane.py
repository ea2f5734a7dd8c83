"""A connection of its own for one kind of statement."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any, TypeVar

import asyncpg
from asyncpg.prepared_stmt import PreparedStatement

from thumbq_server.storage.postgres.errors import Unavailable, as_unavailable, until_done
from thumbq_server.storage.postgres.hints import Hints
from thumbq_server.storage.postgres.history import History
from thumbq_server.storage.postgres.patience import within
from thumbq_server.storage.postgres.pooler import changes_backends
from thumbq_server.storage.postgres.room import Room
from thumbq_server.storage.postgres.session_settings import close, connect
from thumbq_server.storage.statements import Statement

T = TypeVar("T")

# Runs a statement with its arguments, and returns all rows.
Run = Callable[..., Awaitable[list[asyncpg.Record]]]


class Lane:
    """One connection that runs one kind of statement, one at a time; it reconnects when it has to.

    One claim and one completion at a time fill PostgreSQL best (docs/decisions/0003-lanes.md), and a connection of
    their own keeps their prepared statements warm.
    """

    def __init__(
        self,
        dsn: str,
        statement_timeout: float,
        history: History | None = None,
        hints: Hints | None = None,
        room: Room | None = None,
        note: Callable[[BaseException], None] = lambda _: None,
    ) -> None:
        self._dsn = dsn
        self.history = history or History()
        self.hints = hints or Hints()
        self._room = room or Room()
        # Gets each error that is an outage.
        self._note = note
        self._statement_timeout = statement_timeout
        self._connection: asyncpg.Connection | None = None
        # What that connection, or one before it, has parsed for `run_parsed`, by name.
        self._parsed_by: asyncpg.Connection | None = None
        self._known: dict[str, PreparedStatement] = {}
        self._is_closed = False
        self._lock = asyncio.Lock()

    async def fetch(self, statement: Statement | str, *arguments: object) -> list[asyncpg.Record]:
        """Return all rows of one statement, committed. Raises Unavailable."""
        return await self.run(lambda connection: connection.fetch(str(statement), *arguments))

    async def run(self, work: Callable[[Any], Awaitable[T]]) -> T:
        """Return what `work` returns for the connection. `work` must be safe to repeat: a deadlock repeats it."""
        history = self.history.version
        async with self._lock, as_unavailable(self._note):
            return await until_done(partial(self._run_once, work, history))

    async def run_parsed(self, work: Callable[..., Awaitable[T]], *statements: Statement) -> T:
        """Return what `work` returns for the connection and, for each of the statements, how to run it.

        The connection has parsed them all by then. asyncpg sends a statement that is new to a connection in two parts,
        and while PostgreSQL waits for the second one, none of its time limits counts: a host that froze there, within
        a transaction, would keep its locks, and others would wait for them. Behind a pooler that changes backends no
        statement stays parsed, so this is the same as `run`.
        """

        async def parsed(connection: Any) -> T:
            try:
                return await work(connection, *await self._parsed(connection, statements))
            except asyncpg.PostgresError:
                # A newer server may have changed the tables since. They are parsed again.
                self._known = {}
                raise

        return await self.run(parsed)

    async def _parsed(self, connection: Any, statements: Sequence[Statement]) -> list[Run]:
        if changes_backends(connection):
            return [partial(connection.fetch, statement.text) for statement in statements]
        if self._parsed_by is not connection:
            self._parsed_by, self._known = connection, {}
        for statement in statements:
            if statement.name not in self._known:
                self._known[statement.name] = await connection.prepare(statement.text)
        return [self._known[statement.name].fetch for statement in statements]

    async def _run_once(self, work: Callable[[Any], Awaitable[T]], history: int) -> T:
        try:
            connection = self._connection
            if connection is None or connection.is_closed():
                connection = self._connection = await self._open()
            self.history.check(history)
            return await within(self._statement_timeout, connection, work)
        except (asyncpg.PostgresError, Unavailable):
            raise
        except BaseException:
            # cancelled in the middle of a statement: the connection is still executing it
            self.drop()
            raise

    async def _open(self) -> asyncpg.Connection:
        if self._is_closed:
            raise Unavailable("the server is stopping")
        connection = await self._room.for_one(partial(connect, self._dsn, self._statement_timeout))
        await self.history.look(connection)
        if self._is_closed:
            connection.terminate()
            raise Unavailable("the server is stopping")
        return connection

    def drop(self) -> None:
        """Break the connection off. A statement under way fails with Unavailable."""
        if self._connection is not None:
            self._connection.terminate()
            self._connection = None

    async def give_back(self) -> bool:
        """Close the connection if nothing runs on it; the next statement opens another. Return whether it did."""
        if self._connection is None or self._lock.locked():
            return False
        async with self._lock:
            await self._close_connection()
        return True

    async def close(self) -> None:
        """Close the connection, politely if it is idle. One that is being opened is given up."""
        self._is_closed = True
        await self._close_connection()

    async def _close_connection(self) -> None:
        if self._connection is not None:
            connection, self._connection = self._connection, None
            await close(connection, 2)
