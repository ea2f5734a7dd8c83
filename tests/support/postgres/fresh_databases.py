"""Migrated databases for tests, each as it was made. One that a test leaves intact is emptied for another test.

A copy of the template costs ten times more than emptying: PostgreSQL copies three hundred files.
"""

import uuid
from typing import NamedTuple
from urllib.parse import urlsplit

import asyncpg

from tests.support.postgres.databases import database_at, let_go
from tests.support.waiting import eventually

# A copy that has grown by more than this is slower to empty than to make.
_GROWTH = 8_000_000

# Every change of a table, index, function, trigger or setting writes a row of a catalog, or removes one. Rows of
# objects below this number came with PostgreSQL: they are thousands, and no test alters them.
_FIRST_OF_USERS = 16_384
_CATALOGS = {
    "class": "oid",
    "attribute": "attrelid",
    "attrdef": "adrelid",
    "constraint": "oid",
    "index": "indexrelid",
    "proc": "oid",
    "trigger": "oid",
    "rewrite": "oid",
    "namespace": "oid",
    "type": "oid",
}
_LOOK = (
    "SELECT concat_ws(' ', "
    + ", ".join(
        f"(SELECT count(*) || '/' || max(xmin::text::bigint) FROM pg_{name} WHERE {number} >= {_FIRST_OF_USERS})"
        for name, number in _CATALOGS.items()
    )
    + """, (SELECT xmin FROM pg_database WHERE datname = current_database()),
           (SELECT count(*) FROM pg_db_role_setting s JOIN pg_database d ON s.setdatabase = d.oid
             WHERE datname = current_database())),
           pg_database_size(current_database())"""
)

_OTHERS = """
    SELECT count(*) FROM pg_stat_activity
     WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'
"""
# PostgreSQL ends a connection some milliseconds after the client has closed it. One that lasts is a client that a
# test has left behind, and may disturb the next test.
_SECONDS_TO_LEAVE = 2.0


class _Condition(NamedTuple):
    catalogs: str
    size: int


class FreshDatabases:
    """Copies of a migrated template on the PostgreSQL of the tests."""

    def __init__(self, server: str, template: str) -> None:
        self._server = server
        self._template = template
        self._renewal = ""
        self._made: dict[str, _Condition] = {}
        self._unused: list[str] = []

    async def take(self) -> str:
        """Return the DSN of a migrated, empty database for one test."""
        if self._unused:
            return self._unused.pop()
        address = database_at(self._server, f"thumbq_test_{uuid.uuid4().hex[:12]}")
        await self._execute(f"CREATE DATABASE {_name(address)} TEMPLATE {self._template}")
        connection = await asyncpg.connect(address)
        try:
            self._renewal = self._renewal or await _renewal(connection)
            self._made[address] = await _condition(connection)
        finally:
            await connection.close()
        return address

    async def give_back(self, address: str) -> None:
        """Empty a database for another test, or drop one that was altered, has grown, or is still in use."""
        if await self._renewed(address):
            self._unused.append(address)
        else:
            await self._drop(address)

    async def drop_all(self) -> None:
        """Drop the databases that were given back."""
        while self._unused:
            await self._drop(self._unused.pop())

    async def _renewed(self, address: str) -> bool:
        await let_go(address)
        try:
            connection = await asyncpg.connect(address)
        except (OSError, asyncpg.PostgresError):
            return False
        try:
            made, present = self._made[address], await _condition(connection)
            if present.catalogs != made.catalogs or present.size > made.size + _GROWTH or not await _left(connection):
                return False
            await connection.execute(self._renewal)
            return True
        finally:
            await connection.close()

    async def _drop(self, address: str) -> None:
        await self._execute(f"DROP DATABASE {_name(address)} WITH (FORCE)")

    async def _execute(self, statement: str) -> None:
        connection = await asyncpg.connect(self._server)
        try:
            await connection.execute(statement)
        finally:
            await connection.close()


def _name(address: str) -> str:
    return urlsplit(address).path[1:]


async def _left(connection: asyncpg.Connection) -> bool:
    """Return whether this connection is the only one, soon."""

    async def alone() -> bool:
        return not await connection.fetchval(_OTHERS)

    try:
        await eventually(alone, timeout=_SECONDS_TO_LEAVE)
    except TimeoutError:
        return False
    return True


async def _condition(connection: asyncpg.Connection) -> _Condition:
    row = await connection.fetchrow(_LOOK)
    assert row
    return _Condition(*row)


async def _renewal(connection: asyncpg.Connection) -> str:
    """Return the statements that make every table and sequence what it is in this database."""
    statements = ["SET session_replication_role = replica"]  # no foreign keys, no triggers
    for table in await _relations(connection, "r"):
        statements.append(f"DELETE FROM {table}")
        rows = await connection.fetchval(f"SELECT json_agg(t) FROM {table} t")
        if rows:
            literal = rows.replace("'", "''")
            statements.append(f"INSERT INTO {table} SELECT * FROM json_populate_recordset(NULL::{table}, '{literal}')")
    for sequence in await _relations(connection, "S"):
        reset = f"SELECT format('SELECT setval(%L, %s, %L)', $1::text, last_value, is_called) FROM {sequence}"
        statements += [await connection.fetchval(reset, sequence)]
    return "; ".join(statements)


async def _relations(connection: asyncpg.Connection, kind: str) -> list[str]:
    rows = await connection.fetch(
        "SELECT oid::regclass::text FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = $1",
        kind.encode(),
    )
    return [name for (name,) in rows]
