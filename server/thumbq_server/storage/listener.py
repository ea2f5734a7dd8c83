"""LISTEN: hints that something was committed. Losing them costs latency, never a job or a notification."""

import asyncio
import contextlib
from collections.abc import Callable, Mapping

import asyncpg
import structlog

from thumbq_server.storage.database import Unavailable, connect, translated
from thumbq_server.storage.sql import CHANNEL

log = structlog.get_logger()

_RETRY_SECONDS = 1.0
_PROBE_SECONDS = 15.0


async def listen(
    dsn: str, wake: Mapping[str, Callable[[], None]], tell: Callable[[str], None] = lambda _: None
) -> None:
    """For ever: call `wake[payload]` for each hint, and all of them after a (re)connection, since hints were missed.

    Any other payload is handed to `tell`.
    """
    while True:
        with contextlib.suppress(Unavailable):
            async with translated():
                await _listen_once(dsn, wake, tell)
        await asyncio.sleep(_RETRY_SECONDS)


async def _listen_once(dsn: str, wake: Mapping[str, Callable[[], None]], tell: Callable[[str], None]) -> None:
    connection = await connect(dsn, statement_timeout=10)
    closed = asyncio.Event()

    def heard(_connection: object, _pid: int, _channel: str, payload: object) -> None:
        if (call := wake.get(str(payload))) is not None:
            call()
        else:
            tell(str(payload))

    connection.add_termination_listener(lambda _connection: closed.set())
    try:
        await connection.add_listener(CHANNEL, heard)
        for call in wake.values():
            call()
        while not closed.is_set():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_PROBE_SECONDS):
                    await closed.wait()
            if not closed.is_set():
                await connection.fetch("SELECT")  # finds a connection that died without a word
        log.warning("listener.lost")
    finally:
        with contextlib.suppress(Unavailable, asyncpg.PostgresError):
            async with translated():
                await connection.close(timeout=1)
