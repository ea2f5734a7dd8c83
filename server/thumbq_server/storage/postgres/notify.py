"""NOTIFY and LISTEN between servers: hints only. A lost hint costs latency, never a job or a notification."""

import asyncio
import contextlib
from collections.abc import Callable, Mapping, Sequence

import asyncpg
import structlog

from thumbq_server.storage.postgres.database import Database
from thumbq_server.storage.postgres.errors import Unavailable, as_unavailable
from thumbq_server.storage.postgres.hints import Hints
from thumbq_server.storage.postgres.pooler import changes_backends
from thumbq_server.storage.postgres.session_settings import close, connect
from thumbq_server.storage.statements import Statement

log = structlog.get_logger()

CHANNEL = "thumbq"

# A statement of its own, which waits for no disk: a NOTIFY inside the statements of jobs would make their commits take
# turns, each with its own wait.
BROADCAST = Statement(
    "notify_broadcast",
    "payloads text[]",
    f"""
    SELECT pg_notify('{CHANNEL}', payload)
      FROM unnest($1::text[]) AS payload, set_config('synchronous_commit', 'off', true)
    """,
)

# The pauses between attempts to listen double.
_FIRST_RETRY_SECONDS = 0.1
_RETRY_SECONDS = 1.0
_PROBE_SECONDS = 15.0
# It fails when the connection died silently, and is true on a host that takes no writes: no primary any more.
PROBE = "SELECT current_setting('transaction_read_only')::bool"
# The first hint goes out at once, and those of the time after it go together.
_GATHER_SECONDS = 0.005


async def broadcast(database: Database, payloads: Sequence[str], *, history: int | None = None) -> None:
    """Send these to every server, this one included. They are hints, like all of NOTIFY.

    `history`: the version of the history whose numbers they name. In another one nothing is sent.
    """
    await database.fetch(BROADCAST, payloads, history=history)


async def pass_on(database: Database) -> None:
    """Send the hints of this server to all servers, until cancelled. Those that PostgreSQL cannot take are dropped."""
    while True:
        hints = await database.hints.untold()
        with contextlib.suppress(Unavailable):
            await broadcast(database, hints)
        await asyncio.sleep(_GATHER_SECONDS)


async def listen(
    database: Database,
    dsn: str,
    wake: Mapping[str, Callable[[], None]],
    on_broadcast: Callable[[str], None] = lambda _: None,
) -> None:
    """Listen at `dsn` until cancelled, and go where the other connections of the database go.

    Each hint calls `wake[payload]`, a greeting goes to the hints of the database, and any other payload goes to
    `on_broadcast`. All of `wake` are called after a (re)connection, since hints were missed meanwhile. Behind a pooler
    that changes backends there is nothing to hear: this returns, and the polls of all parts stand in.
    """
    is_away, may_look, pause = False, True, _FIRST_RETRY_SECONDS
    while True:
        try:
            async with as_unavailable():
                connection = await connect(dsn, statement_timeout=10)
                if changes_backends(connection):
                    await close(connection, 1)
                    log.warning("listener.polls", why="a pooler; THUMBQ_LISTEN_URL can name a way around it")
                    return
                # Whichever connection is the first at a new primary finds the new history, and drops those before it.
                if may_look:
                    try:
                        await database.history.look(connection)
                    except asyncpg.InsufficientPrivilegeError:
                        may_look = False  # a role of its own needs no right but to connect: the others look
                        continue
                is_away, pause = False, _FIRST_RETRY_SECONDS
                database.adopt(connection)
                await _listen_once(connection, database.hints, wake, on_broadcast)
        except Unavailable as error:
            if not is_away:
                is_away = True
                log.warning("listener.lost", error=str(error))
        await database.history.comeback.pause(pause)
        pause = min(2 * pause, _RETRY_SECONDS)


async def _listen_once(
    connection: asyncpg.Connection,
    hints: Hints,
    wake: Mapping[str, Callable[[], None]],
    on_broadcast: Callable[[str], None],
) -> None:
    closed = asyncio.Event()

    def receive(_connection: object, _pid: int, _channel: str, payload: object) -> None:
        if (call := wake.get(str(payload))) is not None:
            call()
        elif not hints.hear(str(payload)):
            on_broadcast(str(payload))

    connection.add_termination_listener(lambda _connection: closed.set())
    try:
        await connection.add_listener(CHANNEL, receive)
        hints.listens(True)
        for call in wake.values():
            call()
        while not closed.is_set():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_PROBE_SECONDS):
                    await closed.wait()
            if not closed.is_set() and await connection.fetchval(PROBE):
                break
        log.warning("listener.lost")
    finally:
        hints.listens(False)
        with contextlib.suppress(asyncpg.PostgresError):
            await close(connection, 1)
