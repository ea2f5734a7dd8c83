"""What a database must be like, looked at once when a server starts."""

import contextlib
import os
from collections.abc import AsyncIterator
from configparser import ConfigParser
from configparser import Error as UnreadableConfiguration
from pathlib import Path
from typing import Any

import asyncpg

from thumbq_server.storage.postgres.address import InvalidAddress
from thumbq_server.storage.postgres.address.certificates import trouble_with_tls
from thumbq_server.storage.postgres.errors import AWAY, Unavailable, as_unavailable
from thumbq_server.storage.postgres.hosts import Hosts, hosts_of
from thumbq_server.storage.postgres.pooler import changes_backends
from thumbq_server.storage.postgres.session_settings import PLAIN, close

OLDEST_VERSION = 14
_WITH_TRANSACTION_TIMEOUT = 17
# Errors of an outage while a server runs, but at its start of an address that is wrong.
_FINAL = (
    asyncpg.InvalidAuthorizationSpecificationError,
    asyncpg.InvalidCatalogNameError,
    asyncpg.ClientConfigurationError,
)
_FILES = frozenset({"sslcert", "sslcrl", "sslkey", "sslrootcert"})

_FACTS = """
    SELECT current_setting('server_version_num')::int / 10000 AS version,
           pg_encoding_to_char(encoding) AS encoding, datname AS database, current_user AS role,
           current_setting('synchronous_commit') AS synchronous_commit,
           current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int
               - coalesce(current_setting('reserved_connections', true)::int, 0) AS connections,
           NULLIF(datconnlimit, -1) AS database_limit, current_setting('is_superuser')::bool AS superuser,
           (SELECT NULLIF(rolconnlimit, -1) FROM pg_roles WHERE rolname = current_user) AS role_limit,
           current_schema() AS schema, current_setting('search_path') AS search_path,
           has_schema_privilege(current_schema(), 'CREATE') AS may_create,
           to_regclass('thumbq_version') IS NOT NULL AS has_tables, pg_backend_pid() AS backend,
           (SELECT reset_val FROM pg_settings WHERE name = 'transaction_timeout') AS transaction_timeout
      FROM pg_database WHERE datname = current_database()
"""
_IDENTITY = """
    SELECT system_identifier::text || '/' || oid FROM pg_control_system(), pg_database
     WHERE datname = current_database()
"""


class Unsuitable(Exception):
    """Says in one sentence why thumbq cannot keep its promises on this database, and the way out."""


async def check_database(dsn: str, connections_needed: int) -> None:
    """Raise Unsuitable when the database, the role or a pooler in between would break a promise.

    Every sentence names one setting. Raises Unavailable when PostgreSQL does not answer, InvalidAddress for `dsn`.
    """
    hosts = hosts_of(dsn)
    _check_files(hosts)
    _check_service(hosts)
    async with as_unavailable(), _final_as_unsuitable():
        try:
            await _check(hosts, connections_needed)
        except asyncpg.TargetServerAttributeNotMatched:
            raise Unsuitable(
                "The database takes no writes: point DATABASE_URL at the primary instead of a standby, and set"
                " default_transaction_read_only to off for the role and the database."
            ) from None


@contextlib.asynccontextmanager
async def _final_as_unsuitable() -> AsyncIterator[None]:
    """Turn the errors after which only another configuration helps into Unsuitable."""
    try:
        yield
    except (asyncpg.PostgresError, asyncpg.ClientConfigurationError, OSError) as error:
        if (trouble := trouble_with_tls(error)) and not trouble.may_pass:
            raise Unsuitable(trouble.sentence) from error
        if isinstance(error, AWAY) and not isinstance(error, _FINAL):
            raise
        raise Unsuitable(f"PostgreSQL refuses DATABASE_URL: {' '.join(str(error).split())}.") from error
    except InvalidAddress:
        raise
    except (ValueError, UnreadableConfiguration) as problem:
        # asyncpg reads some variables by itself.
        raise Unsuitable(f"PGHOST, PGPORT or the service in DATABASE_URL cannot be used: {problem}.") from problem


def _check_files(hosts: Hosts) -> None:
    """Name the file that is missing: the error of the connection would not."""
    files = {name: path for name, path in hosts.address.asyncpg.items() if name in _FILES}
    for name, path in files.items():
        if not Path(path).is_file():
            raise Unsuitable(f"DATABASE_URL names {name}={path}, and there is no such file.")


def _check_service(hosts: Hosts) -> None:
    """Name the service that is missing: asyncpg would go on without it."""
    if not (service := hosts.address.asyncpg.get("service")):
        return
    # Path.home() raises an error for a user without a home.
    file = Path(os.environ.get("PGSERVICEFILE") or os.path.expanduser("~/.pg_service.conf"))  # noqa: PTH111
    services = ConfigParser()
    try:
        known = services.read(file) and services.has_section(service)
    except (OSError, ValueError, UnreadableConfiguration) as problem:
        raise Unsuitable(f"The file of services {file} cannot be read: {' '.join(str(problem).split())}.") from None
    if not known:
        raise Unsuitable(f"DATABASE_URL names the service {service}, and {file} has none of that name.")


async def _check(hosts: Hosts, connections_needed: int) -> None:
    says_session = hosts.address.pooler == "session"
    first = await hosts.connect({} if says_session else PLAIN, statement_cache_size=0)
    try:
        facts = await _facts(first)
        if says_session and await _shares_backend(hosts, facts["backend"]):
            raise Unsuitable(
                "DATABASE_URL says pooler=session, and the pooler gives several connections the same backend: remove"
                " pooler=session, with which thumbq would set and prepare things that others then meet."
            )
    finally:
        await close(first, 2)
    # A pooler has connections of its own.
    for sentence in _problems(facts, 0 if changes_backends(first) else connections_needed):
        raise Unsuitable(sentence)


async def check_listener(dsn: str, listen_dsn: str) -> None:
    """Raise Unsuitable when the address to listen at is wrong, or that of another database.

    Raises InvalidAddress when it is none. One that does not answer may do so later: until then the server polls.
    """
    if listen_dsn == dsn:
        return
    with contextlib.suppress(Unavailable):
        try:
            hosts = hosts_of(listen_dsn)
            _check_files(hosts)
            _check_service(hosts)
            async with as_unavailable(), _final_as_unsuitable():
                listens_at = await _identity(hosts)
        except (InvalidAddress, Unsuitable) as problem:
            raise type(problem)(str(problem).replace("DATABASE_URL", "THUMBQ_LISTEN_URL")) from None
        async with as_unavailable():
            if listens_at != await _identity(hosts_of(dsn)):
                raise Unsuitable("THUMBQ_LISTEN_URL names another database than DATABASE_URL.")


async def _identity(hosts: Hosts) -> str:
    connection = await hosts.connect({})
    try:
        return str(await connection.fetchval(_IDENTITY))
    finally:
        await close(connection, 2)


async def _facts(connection: asyncpg.Connection) -> Any:
    # Within a transaction, a pooler keeps one backend for all messages of the statement.
    async with connection.transaction():
        if connection.get_server_version().major >= _WITH_TRANSACTION_TIMEOUT:
            await connection.execute("SET LOCAL transaction_timeout = 0")
        return await connection.fetchrow(_FACTS)


async def _shares_backend(hosts: Hosts, backend: int) -> bool:
    """Return whether a second connection gets the backend of an idle first one, as poolers in transaction mode do."""
    second = await hosts.connect({}, statement_cache_size=0)
    try:
        async with second.transaction():
            return bool(await second.fetchval("SELECT pg_backend_pid()") == backend)
    finally:
        await close(second, 2)


def _problems(facts: Any, connections_needed: int) -> list[str]:
    database, role, schema = facts["database"], facts["role"], facts["schema"]
    problems = []
    if facts["version"] < OLDEST_VERSION:
        problems.append(f"This is PostgreSQL {facts['version']}; thumbq needs {OLDEST_VERSION} or newer.")
    if facts["encoding"] != "UTF8":
        problems.append(
            f"The database {database} stores text as {facts['encoding']}; thumbq needs one that was created with"
            " ENCODING 'UTF8' (and TEMPLATE template0)."
        )
    if facts["synchronous_commit"] == "off":
        problems.append(
            f"synchronous_commit is off for {role} on {database}, so a crash would lose jobs that were acknowledged:"
            f" ALTER ROLE {role} RESET synchronous_commit, and the same for the database."
        )
    if facts["transaction_timeout"] not in {None, "0"}:
        problems.append(
            f"transaction_timeout is {facts['transaction_timeout']} ms for {role} on {database}, which would end"
            f" connections in the middle of their work: ALTER ROLE {role} SET transaction_timeout = 0."
        )
    if schema is None:
        problems.append(
            f"The role {role} finds no schema of its search_path ({facts['search_path']}) in {database}: create one,"
            f" GRANT USAGE on it, or set the search_path of {role}."
        )
    elif not facts["may_create"] and not facts["has_tables"]:
        problems.append(
            f"The role {role} may not create tables in the schema {schema}: GRANT CREATE ON SCHEMA {schema} TO {role}."
        )
    problems += _too_few(facts, connections_needed)
    return problems


def _too_few(facts: Any, needed: int) -> list[str]:
    database, role = facts["database"], facts["role"]
    limits = [(facts["connections"], "PostgreSQL", "raise max_connections")]
    # PostgreSQL holds no superuser to the other two.
    if not facts["superuser"]:
        limits += [
            (
                facts["database_limit"],
                f"the database {database}",
                f"ALTER DATABASE {database} CONNECTION LIMIT {needed}",
            ),
            (facts["role_limit"], f"the role {role}", f"ALTER ROLE {role} CONNECTION LIMIT {needed}"),
        ]
    return [
        f"thumbq needs {needed} connections and {place} allows {limit}: {remedy}, lower THUMBQ_DATABASE_CONNECTIONS, or"
        " run fewer processes."
        for limit, place, remedy in limits
        if limit is not None and limit < needed
    ]
