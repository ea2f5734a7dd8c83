"""The statements as one can read them: docs/statements.sql has them all, as they run."""

from pathlib import Path

import asyncpg

from thumbq_server.storage.statements import all_statements, render

FILE = Path(__file__).parents[3] / "docs" / "statements.sql"


def test_the_file_has_the_statements_as_they_run():
    assert FILE.read_text() == render(), "run `make sql`"


async def test_postgresql_prepares_the_file(database_url):
    connection = await asyncpg.connect(database_url)
    try:
        await connection.execute(FILE.read_text())
        prepared = {row["name"] for row in await connection.fetch("SELECT name FROM pg_prepared_statements")}
        assert prepared >= {statement.name for statement in all_statements()}
    finally:
        await connection.close()


async def _type_name(connection: asyncpg.Connection, oid: int) -> str:
    name: str = await connection.fetchval("SELECT format_type($1::oid, NULL)", oid)
    return name


async def test_each_statement_takes_parameters_of_the_types_that_it_names(database_url):
    connection = await asyncpg.connect(database_url)
    try:
        for statement in all_statements():
            prepared = await connection.prepare(statement.text)
            taken = [await _type_name(connection, parameter.oid) for parameter in prepared.get_parameters()]
            assert taken == [parameter.split(" ", 1)[1] for parameter in statement.parameters], statement.name
    finally:
        await connection.close()
