"""Connections through a pooler that may give every transaction another backend, as PgBouncer's transaction mode does.

Settings, prepared statements, LISTEN and locks of a session would stay behind at some backend, and meet other clients
there (docs/decisions/0028-a-pooler-in-between.md).
"""

import asyncio
import re
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager, nullcontext
from typing import Any

import asyncpg

from thumbq_server.storage.postgres.address import InvalidAddress
from thumbq_server.storage.postgres.errors import NoBackend, PoolerIsFull
from thumbq_server.storage.postgres.patience import broken_off_after

# BEGIN says the first, and no pooler lets a transaction of ours wait for the second.
_NOT_FOR_TRANSACTIONS = {"default_transaction_isolation", "idle_session_timeout"}
# It goes with the start of a session, which every pooler takes.
_OF_SESSIONS = "application_name"
# A transaction waits for a backend this much longer than a statement may take. The limit of both together is later
# (patience).
_LATE_SECONDS = 2.0
# A backslash takes the next character as it is.
_OPTION = re.compile(r"(?:-c\s*|--)(?P<name>[A-Za-z_][\w.-]*)=(?P<value>(?:\\.|[^\s\\])*)\s*")


class PooledConnection(asyncpg.Connection):
    """Runs every statement in a transaction, which keeps the messages of the statement on one backend.

    Each transaction begins with the settings that a session has elsewhere. Statements have no names. Text without
    arguments for `execute` is a single message, and needs no transaction: VACUUM takes that way.
    """

    # Statements that set the settings for a transaction.
    set_local = ""
    # Seconds that a transaction waits for a backend.
    longest_wait = 30.0
    # Whether a transaction waits for a backend now, and whether one has waited in vain.
    is_waiting = gave_up = False

    async def execute(self, query: str, *args: object, timeout: float | None = None) -> str:
        """Run a statement, and return what PostgreSQL says of it."""
        if args:
            async with self._on_one_backend():
                return await super().execute(query, *args, timeout=timeout)
        # This is how asyncpg begins a transaction.
        if query.startswith("BEGIN"):
            return await self._begin(query + self.set_local)
        return await super().execute(query, timeout=timeout)

    async def _begin(self, query: str) -> str:
        """Begin a transaction as soon as the pooler has a backend for it. Raises NoBackend when that takes too long."""
        timer = asyncio.get_running_loop().call_later(self.longest_wait, self._give_up)
        self.is_waiting = True
        try:
            return await super().execute(query)
        except asyncpg.PostgresConnectionError as error:
            if self.gave_up or "query_wait_timeout" in str(error):
                raise NoBackend(f"no backend for a transaction: {error}") from error
            raise
        except asyncio.CancelledError:
            # PgBouncer does not cancel what has no backend yet, and asyncpg would wait for that.
            self.terminate()
            raise
        finally:
            self.is_waiting = False
            timer.cancel()

    def _give_up(self) -> None:
        self.gave_up = True
        self.terminate()

    async def fetch(self, query: str, *args: object, **options: Any) -> Any:
        """Return all rows of a statement."""
        async with self._on_one_backend():
            return await super().fetch(query, *args, **options)

    async def fetchrow(self, query: str, *args: object, **options: Any) -> Any:
        """Return the first row of a statement."""
        async with self._on_one_backend():
            return await super().fetchrow(query, *args, **options)

    async def fetchval(self, query: str, *args: object, **options: Any) -> Any:
        """Return the first value of a statement."""
        async with self._on_one_backend():
            return await super().fetchval(query, *args, **options)

    def _on_one_backend(self) -> AbstractAsyncContextManager[Any]:
        # A closed connection cannot tell whether it is in a transaction; the statement then says that it is closed.
        return nullcontext() if self.is_closed() or self.is_in_transaction() else self.transaction()


async def open_pooled(place: Mapping[str, Any], settings: Mapping[str, str]) -> PooledConnection:
    """Open a connection whose transactions have these settings. `place` goes to `asyncpg.connect`."""
    settings = with_options(settings)
    of_sessions = {name: value for name, value in settings.items() if name == _OF_SESSIONS}
    own = {"connection_class": PooledConnection, "statement_cache_size": 0, "server_settings": of_sessions}
    connection: PooledConnection = await asyncpg.connect(**{**place, **own})
    connection.set_local = _set_local(settings)
    if milliseconds := float(settings.get("statement_timeout", 0)):
        connection.longest_wait = milliseconds / 1000 + _LATE_SECONDS
    return connection


def changes_backends(connection: object) -> bool:
    """Return whether every transaction of the connection may get another backend."""
    # asyncpg has isinstance say yes for each of its connections.
    return type(connection) is PooledConnection


def waits_for_backend(connection: object) -> bool:
    """Return whether a pooler lets a transaction of the connection wait."""
    return changes_backends(connection) and getattr(connection, "is_waiting", False)


def check_full(error: asyncpg.PostgresError) -> None:
    """Raise PoolerIsFull when this is how a pooler refuses a connection for want of room."""
    if "max_client_conn" in str(error):
        raise PoolerIsFull(str(error)) from error


async def has_pooler(place: Mapping[str, Any], settings: Mapping[str, str]) -> bool:
    """Return whether a pooler stands before PostgreSQL: it gives its clients numbers of its own for their backends."""
    own = {"connection_class": PooledConnection, "statement_cache_size": 0, "server_settings": dict(settings)}
    try:
        connection = await asyncpg.connect(**{**place, **own})
    except asyncpg.ProtocolViolationError:
        # Only PgBouncer refuses these settings in this way.
        return True
    connection.longest_wait = place["timeout"]
    try:
        # A cancellation would wait for the end of the transaction: the host may be silent since it let us in.
        backend = await broken_off_after(
            connection.longest_wait + _LATE_SECONDS, connection, lambda own: own.fetchval("SELECT pg_backend_pid()")
        )
        return bool(backend != connection.get_server_pid())
    finally:
        connection.terminate()


def with_options(settings: Mapping[str, str]) -> dict[str, str]:
    """Return the settings with those from `options`, such as "-c work_mem=64MB", which poolers do not pass on.

    Raises InvalidAddress when `options` has anything else.
    """
    own = dict(settings)
    options, end = own.pop("options", "").strip(), 0
    for option in _OPTION.finditer(options):
        if option.start() != end:
            break
        own[option["name"].replace("-", "_")] = re.sub(r"\\(.)", r"\1", option["value"])
        end = option.end()
    if end != len(options):
        raise InvalidAddress("Behind a pooler, options in DATABASE_URL can only be settings: -c name=value.")
    return own


def _set_local(settings: Mapping[str, str]) -> str:
    own = {name: value for name, value in settings.items() if name not in {*_NOT_FOR_TRANSACTIONS, _OF_SESSIONS}}
    calls = [f"set_config({_quoted(name)}, {_quoted(value)}, true)" for name, value in own.items()]
    return f" SET TRANSACTION ISOLATION LEVEL READ COMMITTED; SELECT {', '.join(calls)};" if calls else ""


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
