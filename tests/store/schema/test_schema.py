"""The description of the tables: the migrations produce exactly it."""

import asyncpg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy.dialects import postgresql
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from thumbq_server.domain.records import JobRecord
from thumbq_server.storage import schema, views

# Everything in the catalogue that a statement or a plan could depend on.
CATALOGUE = {
    "columns": """
        SELECT c.relname, a.attnum, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull, a.attidentity,
               a.attstorage, coalesce(a.attstattarget, -1), pg_get_expr(d.adbin, d.adrelid)
          FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
          LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
         WHERE c.relnamespace = 'public'::regnamespace AND a.attnum > 0 AND c.relkind IN ('r', 'v')""",
    "constraints": """
        SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint
         WHERE connamespace = 'public'::regnamespace AND contype <> 'n'""",
    "indexes": "SELECT tablename, indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'",
    "storage parameters": """
        SELECT relname, relkind, array(SELECT unnest(reloptions) ORDER BY 1) FROM pg_class
         WHERE relnamespace = 'public'::regnamespace""",
    "views": "SELECT viewname, definition FROM pg_views WHERE schemaname = 'public'",
    "sequences": """
        SELECT sequencename, data_type::text, start_value, min_value, max_value, increment_by, cycle, cache_size
          FROM pg_sequences WHERE schemaname = 'public'""",
    "comments": """
        SELECT c.relname, d.objsubid, d.description FROM pg_description d JOIN pg_class c ON c.oid = d.objoid
         WHERE c.relnamespace = 'public'::regnamespace""",
}


async def catalogue_of(dsn, question):
    connection = await asyncpg.connect(dsn)
    try:
        rows = await connection.fetch(f"SELECT * FROM ({CATALOGUE[question]}) AS q ORDER BY q::text")
        return [tuple(row) for row in rows if row[0] not in {"thumbq_version", "thumbq_version_pkc"}]
    finally:
        await connection.close()


async def run(dsn, work):
    async def connect():
        return await asyncpg.connect(dsn)

    engine = create_async_engine("postgresql+asyncpg://", async_creator=connect, poolclass=NullPool)
    try:
        async with engine.begin() as connection:
            return await connection.run_sync(work)
    finally:
        await engine.dispose()


@pytest.fixture
async def described(empty_database_url):
    """A database that was made from the description."""
    await run(empty_database_url, schema.create)
    return empty_database_url


@pytest.mark.parametrize("question", CATALOGUE)
async def test_the_migrations_produce_what_is_described(database_url, described, question):
    assert await catalogue_of(database_url, question) == await catalogue_of(described, question)


async def test_an_analyze_leaves_arrays_alone(database_url):
    """It would count their elements: of the log in full use for most of a minute, again and again."""
    arrays = "SELECT attrelid::regclass::text, attname FROM pg_attribute JOIN pg_class c ON c.oid = attrelid"
    arrays += " WHERE c.relkind = 'r' AND relnamespace = 'public'::regnamespace AND attndims > 0 AND {}"
    connection = await asyncpg.connect(database_url)
    try:
        assert await connection.fetch(arrays.format("coalesce(attstattarget, -1) <> 0")) == []
        assert await connection.fetch(arrays.format("attstattarget = 0"))
    finally:
        await connection.close()


async def test_an_analyze_looks_at_few_rows_of_jobs(database_url):
    """All rows that it looks at cost CPU, every ten seconds, and the hot path finds its rows by key without them."""
    targets = "SELECT DISTINCT coalesce(attstattarget, -1) FROM pg_attribute WHERE attrelid = $1::text::regclass"
    connection = await asyncpg.connect(database_url)
    try:
        for table in ("jobs", "ready", "leases", "attempts"):
            rows = await connection.fetch(f"{targets} AND attnum > 0 AND NOT attisdropped", table)
            assert [tuple(row) for row in rows] == [(10,)]
    finally:
        await connection.close()


async def test_alembic_finds_no_difference(database_url):
    def differences(connection):
        options = {"compare_type": True, "version_table": "thumbq_version"}  # defaults: see "columns" above
        return compare_metadata(MigrationContext.configure(connection, opts=options), schema.metadata)

    assert await run(database_url, differences) == []


@pytest.mark.parametrize("view", [views.job_states, views.job_records], ids=lambda view: view.name)
async def test_a_view_has_the_columns_that_are_described(database_url, view):
    rows = sorted(row[1:4] for row in await catalogue_of(database_url, "columns") if row[0] == view.name)
    declared = [(column.name, column.type.compile(postgresql.dialect()).lower()) for column in view.columns]
    assert [(name, kind) for _, name, kind in rows] == declared


def test_a_record_of_a_job_has_the_columns_of_its_view():
    assert [column.name for column in views.job_records.columns] == list(JobRecord._fields)
