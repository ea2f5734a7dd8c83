"""What a database must be like, looked at once when a server starts."""

from typing import Any

import asyncpg

from thumbq_server.storage.postgres.errors import as_unavailable
from thumbq_server.storage.postgres.hosts import Hosts, hosts_of

OLDEST_VERSION = 14

_FACTS = """
    SELECT current_setting('server_version_num')::int / 10000 AS version,
           pg_encoding_to_char(encoding) AS encoding, datname AS database, current_user AS role,
           current_setting('synchronous_commit') AS synchronous_commit,
           current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int
               AS connections,
           current_schema() AS schema, current_setting('search_path') AS search_path,
           has_schema_privilege(current_schema(), 'CREATE') AS may_create,
           to_regclass('thumbq_version') IS NOT NULL AS has_tables, pg_backend_pid() AS backend
      FROM pg_database WHERE datname = current_database()
"""


class Unsuitable(Exception):
    """Says in one sentence why thumbq cannot keep its promises on this database, and the way out."""


async def check_database(dsn: str, connections_needed: int) -> None:
    """Raise Unsuitable when the database, the role or a pooler in between would break a promise.

    Every sentence names one setting. Raises Unavailable when PostgreSQL does not answer, InvalidAddress for `dsn`.
    """
    hosts = hosts_of(dsn)
    async with as_unavailable():
        try:
            await _check(hosts, connections_needed)
        except (
            asyncpg.InvalidPasswordError,
            asyncpg.InvalidAuthorizationSpecificationError,
            asyncpg.InvalidCatalogNameError,
            asyncpg.InsufficientPrivilegeError,
            asyncpg.CantChangeRuntimeParamError,
            asyncpg.UndefinedObjectError,
            asyncpg.InvalidParameterValueError,
            asyncpg.ClientConfigurationError,
        ) as error:
            raise Unsuitable(f"PostgreSQL refuses DATABASE_URL: {error}.") from error
        except asyncpg.TargetServerAttributeNotMatched:
            raise Unsuitable(
                "The database takes no writes: point DATABASE_URL at the primary instead of a standby, and set"
                " default_transaction_read_only to off for the role and the database."
            ) from None


async def _check(hosts: Hosts, connections_needed: int) -> None:
    first = await hosts.connect({}, statement_cache_size=0)
    try:
        facts = await _facts(first)
        if facts["backend"] != first.get_server_pid() and await _shares_backend(hosts, facts["backend"]):
            raise Unsuitable(
                "A pooler in transaction mode stands before PostgreSQL: each thumbq connection needs a backend of its"
                " own, so use the pooler's session mode or PostgreSQL's own port."
            )
    finally:
        await first.close(timeout=2)
    for sentence in _problems(facts, connections_needed):
        raise Unsuitable(sentence)


async def _facts(connection: asyncpg.Connection) -> Any:
    # Within a transaction, a pooler keeps one backend for all messages of the statement.
    async with connection.transaction():
        return await connection.fetchrow(_FACTS)


async def _shares_backend(hosts: Hosts, backend: int) -> bool:
    """Return whether a second connection gets the backend of an idle first one, as poolers in transaction mode do."""
    second = await hosts.connect({}, statement_cache_size=0)
    try:
        async with second.transaction():
            return bool(await second.fetchval("SELECT pg_backend_pid()") == backend)
    finally:
        await second.close(timeout=2)


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
    if schema is None:
        problems.append(
            f"No schema of the search_path ({facts['search_path']}) exists in {database}: create one, or set the"
            f" search_path of {role}."
        )
    elif not facts["may_create"] and not facts["has_tables"]:
        problems.append(
            f"The role {role} may not create tables in the schema {schema}: GRANT CREATE ON SCHEMA {schema} TO {role}."
        )
    if facts["connections"] < connections_needed:
        problems.append(
            f"thumbq needs {connections_needed} connections and PostgreSQL allows {facts['connections']}: raise"
            " max_connections, or run fewer processes."
        )
    return problems
