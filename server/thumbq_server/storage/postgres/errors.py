"""The errors of PostgreSQL, in two groups: try again at once, or only later."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

import asyncpg

from thumbq_server.storage.postgres.address.certificates import trouble_with_tls

T = TypeVar("T")

# 40001, 40P01, and a plan that fits the tables no more: PostgreSQL undid all of it, so running it again is safe.
UNDONE = (asyncpg.SerializationError, asyncpg.DeadlockDetectedError, asyncpg.InvalidCachedStatementError)
UNDONE_TRIES = 5

# After these the caller may try again later.
AWAY = (
    *UNDONE,
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
    asyncpg.IdleInTransactionSessionTimeoutError,  # this server stood still within a transaction
    asyncpg.TransactionTimeoutError,
    asyncpg.InvalidCatalogNameError,
    asyncpg.InvalidAuthorizationSpecificationError,
)

# At a start, only a GRANT helps.
NotPermitted = asyncpg.InsufficientPrivilegeError


class Unavailable(Exception):
    """PostgreSQL cannot do this now. The request may or may not have been committed."""


class NoBackend(TimeoutError):
    """A pooler gave a transaction no connection to PostgreSQL in time."""


class PoolerIsFull(asyncpg.TooManyConnectionsError):
    """A pooler takes no more connections."""


_MORE_ROOM = (
    "raise max_connections, or the CONNECTION LIMIT of the role or the database, or lower THUMBQ_DATABASE_CONNECTIONS"
)
NO_ANSWER = "the database does not answer"
NO_BACKEND = "the pooler gives no connection to PostgreSQL: if that is up, raise the pooler's default_pool_size"
_OF_POOLERS: tuple[tuple[type[BaseException], str], ...] = (
    (NoBackend, NO_BACKEND),
    (
        PoolerIsFull,
        "the pooler takes no more connections: raise its max_client_conn, or lower THUMBQ_DATABASE_CONNECTIONS",
    ),
)
_IN_WORDS: tuple[tuple[type[BaseException], str], ...] = (
    (asyncpg.ReadOnlySQLTransactionError, "the database is read-only"),
    # a new connection found no host that takes writes
    (asyncpg.TargetServerAttributeNotMatched, "the database is read-only"),
    (asyncpg.DiskFullError, "the disk of the database is full"),
    *_OF_POOLERS,
    (asyncpg.TooManyConnectionsError, f"the database has no connection left: {_MORE_ROOM}"),
    (asyncpg.CannotConnectNowError, "the database is starting or stopping"),
    (asyncpg.QueryCanceledError, NO_ANSWER),
    (TimeoutError, NO_ANSWER),
    (asyncpg.InvalidAuthorizationSpecificationError, "the database refuses the user or the password"),
    (OSError, "the database cannot be reached"),
)


def in_words(error: Unavailable) -> str:
    """Return what keeps PostgreSQL from its work, for operators, without addresses."""
    if trouble := trouble_with_tls(error.__cause__):
        return trouble.sentence.rstrip(".")
    for kind, words in _IN_WORDS:
        if isinstance(error.__cause__, kind):
            return words
    return "the database is away"


def lacks_room(error: Unavailable) -> bool:
    """Return whether PostgreSQL or a pooler is there, and has no connection left."""
    return isinstance(error.__cause__, asyncpg.TooManyConnectionsError)


@asynccontextmanager
async def as_unavailable(note: Callable[[BaseException], None] = lambda _: None) -> AsyncIterator[None]:
    """Turn the many ways in which PostgreSQL can be away into Unavailable. `note` gets the error first.

    A cancellation stays one, also when its connection fails to undo the statement: loops would go on otherwise.
    """
    task = asyncio.current_task()
    cancelled = task.cancelling() if task else 0
    try:
        yield
    except AWAY as error:
        if task and task.cancelling() > cancelled:
            raise asyncio.CancelledError from error
        note(error)
        raise Unavailable(_reason(error)) from error


def _reason(error: BaseException) -> str:
    if trouble := trouble_with_tls(error):
        return trouble.sentence
    if isinstance(error, asyncpg.TargetServerAttributeNotMatched):
        return "no host of DATABASE_URL takes writes"
    for kind, words in _OF_POOLERS:
        if isinstance(error, kind):
            return words
    remedy = f": {_MORE_ROOM}" if isinstance(error, asyncpg.TooManyConnectionsError) else ""
    return f"{type(error).__name__}: {error}{remedy}"


async def until_done(attempt: Callable[[], Awaitable[T]]) -> T:
    """Return what `attempt` returns. Make it again, a few times, when PostgreSQL undid it."""
    for _ in range(UNDONE_TRIES - 1):
        try:
            return await attempt()
        except UNDONE:
            continue
    return await attempt()
