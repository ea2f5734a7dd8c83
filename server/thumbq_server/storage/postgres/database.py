"""The way of one server process to PostgreSQL: lanes for the hot path, a pool for the rest."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Self, TypeVar
from weakref import WeakSet

import asyncpg

from thumbq_runtime.connections import POOL_SIZE
from thumbq_server.metrics.observer import Observer
from thumbq_server.storage.postgres.disk import Disk
from thumbq_server.storage.postgres.errors import (
    AWAY,
    NO_ANSWER,
    NO_BACKEND,
    Unavailable,
    as_unavailable,
    in_words,
    until_done,
)
from thumbq_server.storage.postgres.hints import Hints
from thumbq_server.storage.postgres.history import History
from thumbq_server.storage.postgres.hosts import hosts_of
from thumbq_server.storage.postgres.lane import Lane
from thumbq_server.storage.postgres.patience import within
from thumbq_server.storage.postgres.pooler import waits_for_backend
from thumbq_server.storage.postgres.room import Room
from thumbq_server.storage.postgres.session_settings import CONNECT_TIMEOUT, session_settings
from thumbq_server.storage.statements import Statement

T = TypeVar("T")

# A row of an answer: a tuple with names.
Row = asyncpg.Record


class Database:
    """Where one server process reaches PostgreSQL."""

    def __init__(
        self,
        dsn: str,
        *,
        statement_timeout: float = 30.0,
        pool_size: int = POOL_SIZE,
        observer: Observer | None = None,
    ) -> None:
        self._observer = observer or Observer()
        self.dsn = dsn
        self._statement_timeout = statement_timeout
        self._pool_size = pool_size
        self._pool: asyncpg.Pool | None = None
        self._lanes: list[Lane] = []
        self.history = History()
        # Those from before lead to a primary that is none any more, and would say so late, or go on reading there.
        self.history.on_change(self._leave)
        self.hints = Hints()
        self._room = Room()
        self._disk = Disk()
        self._opened: WeakSet[asyncpg.Connection] = WeakSet()

    async def __aenter__(self) -> Self:
        async with as_unavailable():
            self._pool = await asyncpg.create_pool(
                connect=self._connect, reset=_keep_settings, min_size=1, max_size=self._pool_size
            )
        return self

    async def __aexit__(self, *_: object) -> None:
        await asyncio.gather(*(lane.close() for lane in self._lanes))
        if self._pool is not None:
            try:
                await asyncio.wait_for(self._pool.close(), 3)
            except (TimeoutError, *AWAY):
                self._pool.terminate()

    async def _connect(self, *_: object, **options: Any) -> asyncpg.Connection:
        # The pool adds options of its own, such as the class of its connections.
        options |= {"command_timeout": self._statement_timeout + 5}
        connect = partial(hosts_of(self.dsn).connect, session_settings(self._statement_timeout), **options)
        connection = await self._room.for_one(connect)
        await self.history.look(connection)
        self.adopt(connection)
        return connection

    def adopt(self, connection: asyncpg.Connection) -> None:
        """Break this connection off as well when its host is none to stay at."""
        self._opened.add(connection)

    async def beat(self) -> None:
        """Write, as every job needs it, and find out whether new connections are to be had. Raises Unavailable."""
        if hosts_of(self.dsn).in_trouble:
            async with as_unavailable():
                connection = await hosts_of(self.dsn).connect(session_settings(self._statement_timeout))
                await connection.close()
        if self._disk.was_full:
            await self.run(self._disk.try_again)
        await self.run(self.history.beat)

    in_words = staticmethod(in_words)

    def why_silent(self) -> str:
        """Return what an answer that does not come waits for, for operators."""
        return NO_BACKEND if any(map(waits_for_backend, list(self._opened))) else NO_ANSWER

    @property
    def has_other_hosts(self) -> bool:
        """Whether there is another host to go to. A single one is waited for, up to the time limit of statements."""
        return len(hosts_of(self.dsn).address.hosts) > 1

    def drop_connections(self) -> None:
        """Break all connections off, since their host does not answer; the next ones go to another host first."""
        hosts_of(self.dsn).pass_over()
        self._leave()

    def _note(self, error: BaseException) -> None:
        """Take note of an error of PostgreSQL. A host that takes no writes is no primary any more.

        Connections that only read would not find out, and go on reading what the new primary has left behind.
        """
        self._disk.note(error)
        if isinstance(error, asyncpg.ReadOnlySQLTransactionError):
            self._leave()

    def _leave(self) -> None:
        for lane in self._lanes:
            lane.drop()
        for connection in list(self._opened):
            connection.terminate()

    @property
    def most_connections(self) -> int:
        """The connections that it has open at most."""
        return self._pool_size + len(self._lanes)

    def lane(self) -> Lane:
        """Return a new lane, closed with the database."""
        self._lanes.append(Lane(self.dsn, self._statement_timeout, self.history, self.hints, self._room, self._note))
        self._room.holders.append(self._lanes[-1].give_back)
        return self._lanes[-1]

    async def fetch(
        self, statement: Statement | str, *arguments: object, history: int | None = None
    ) -> list[asyncpg.Record]:
        """Return all rows of one statement on a pooled connection, committed. Raises Unavailable.

        `history`: the version of the history whose numbers the arguments have. In another one they name others.
        """

        async def work(connection: Any) -> list[asyncpg.Record]:
            if history is not None:
                self.history.check(history)
            rows: list[asyncpg.Record] = await connection.fetch(str(statement), *arguments)
            return rows

        return await self.run(work)

    async def run(self, work: Callable[[Any], Awaitable[T]]) -> T:
        """Return what `work` returns for a pooled connection. `work` must be safe to repeat: a deadlock repeats it."""
        async with as_unavailable(self._note):
            return await until_done(partial(self._run_once, work))

    async def _run_once(self, work: Callable[[Any], Awaitable[T]]) -> T:
        if self._pool is None:
            raise Unavailable("not connected")
        began = time.perf_counter()
        async with self._pool.acquire(timeout=CONNECT_TIMEOUT) as connection:
            self._observer.pool_wait(time.perf_counter() - began)
            return await within(self._statement_timeout, connection, work)


async def _keep_settings(_connection: object) -> None:
    """Leave a connection as it is: no work changes its session, and behind a pooler a reset would lose its settings."""
