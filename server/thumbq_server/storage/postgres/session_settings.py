"""The settings of each connection to PostgreSQL."""

import asyncpg

from thumbq_server.storage.postgres.errors import AWAY
from thumbq_server.storage.postgres.hosts import hosts_of

# Statements of lanes find rows by key, in the order of keys. A plan made while the tables were empty would scan them
# whole, and stay while they fill: finding 10,000 jobs took 9 s instead of 0.3. A bitmap scan would lock rows in
# their physical order, and deadlock with an index scan.
_BY_KEY = {"enable_seqscan": "off", "enable_bitmapscan": "off", "plan_cache_mode": "force_generic_plan"}
CONNECT_TIMEOUT = 5.0
# A role or a database may have others, with which statements would fail or idle connections end.
PLAIN = {
    "default_transaction_isolation": "read committed",
    "statement_timeout": "0",
    "lock_timeout": "0",
    "idle_in_transaction_session_timeout": "0",
    "idle_session_timeout": "0",
}


async def connect(dsn: str, statement_timeout: float) -> asyncpg.Connection:
    """Return a connection with the session settings that every statement here relies on. Times in seconds."""
    settings = session_settings(statement_timeout) | _BY_KEY
    return await hosts_of(dsn).connect(settings, command_timeout=statement_timeout + 5)


async def close(connection: asyncpg.Connection, seconds: float) -> None:
    """Close a connection that is needed no more. One that takes longer than that, or is lost, is broken off."""
    try:
        await connection.close(timeout=seconds)
    except (TimeoutError, *AWAY):
        connection.terminate()


def session_settings(statement_timeout: float) -> dict[str, str]:
    """Return the settings of any connection. Time in seconds."""
    milliseconds = str(int(statement_timeout * 1000))
    return PLAIN | {
        "application_name": "thumbq",
        "statement_timeout": milliseconds,
        # A server whose network went silent inside a transaction would keep its locks for hours.
        "idle_in_transaction_session_timeout": milliseconds,
        "jit": "off",
        "TimeZone": "UTC",
    }
