"""Statements that a lane keeps parsed."""

from tests.support.postgres.databases import around_pooler
from thumbq_server.storage.postgres.lane import Lane
from thumbq_server.storage.statements import Statement

THINGS = Statement("things", "", "SELECT size FROM things")


async def sizes(connection, things):
    return [row["size"] for row in await things()]


async def test_a_statement_is_parsed_again_when_a_table_has_changed(queue):
    """As a newer server changes it, beside an older one."""
    await queue.sql("CREATE TABLE things AS SELECT 7::smallint AS size")
    try:
        assert await queue.lane.run_parsed(sizes, THINGS) == [7]
        await queue.sql("ALTER TABLE things ALTER COLUMN size TYPE bigint")
        assert await queue.lane.run_parsed(sizes, THINGS) == [7]
    finally:
        await queue.sql("DROP TABLE things")


async def test_a_statement_is_parsed_once_for_each_connection(queue):
    async def known(connection, things):
        rows = await connection.fetch("SELECT name FROM pg_prepared_statements WHERE statement = $1", THINGS.text)
        return [row["name"] for row in rows]

    # A pooler keeps none.
    lane = Lane(around_pooler(queue.database.dsn), statement_timeout=30.0)
    await queue.sql("CREATE TABLE things (size bigint)")
    try:
        [name] = await lane.run_parsed(known, THINGS)
        assert await lane.run_parsed(known, THINGS) == [name]
        lane.drop()
        assert len(await lane.run_parsed(known, THINGS)) == 1
    finally:
        await lane.close()
        await queue.sql("DROP TABLE things")
