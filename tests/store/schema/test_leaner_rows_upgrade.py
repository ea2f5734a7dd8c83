"""An upgrade from 0014 takes constants out of new rows; old rows, and servers of the older version, go on."""

import asyncio

import asyncpg
import pytest

from tests.support.conditions import until
from tests.support.postgres.invariants import assert_sound
from tests.support.postgres.queue_under_test import QueueUnderTest, model_file, new_job
from thumbq_server.domain.job import EnqueueOutcome, Verdict
from thumbq_server.storage.migrations import upgrade
from thumbq_server.storage.postgres.database import Database

# What a server of the version before does for an enqueue of one job.
OLD_ENQUEUE = """
    WITH created AS (
        INSERT INTO jobs (model_id, model_hash, priority, max_attempts, due_at) VALUES ($1, $2, 0, 3, now())
        RETURNING id, model_id, model_hash, created_at, due_at
    ), head AS (
        UPDATE queue_head SET jobs = jobs + 1
    )
    INSERT INTO ready (rank, job_id, run_at, model_id, created_at, priority, max_attempts, attempt, model_hash)
    SELECT due_at, id, due_at, model_id, created_at, 0, 3, 0, model_hash FROM created RETURNING job_id
"""
FILES = "SELECT relname, pg_relation_filenode(oid) FROM pg_class WHERE relname ~ '^(jobs|attempts|notifications)'"
STORED = "SELECT id, since, reset_at = created_at AS as_created FROM jobs ORDER BY id"
UPGRADES = """
    SELECT FROM pg_stat_activity
     WHERE datname = current_database() AND pid <> pg_backend_pid() AND wait_event_type = 'Lock'
"""


async def test_old_rows_stay_and_new_ones_leave_out_what_they_share(empty_database_url):
    await upgrade(empty_database_url, "0014")
    connection = await asyncpg.connect(empty_database_url)
    try:
        old = [await connection.fetchval(OLD_ENQUEUE, model, model_file(1)) for model in range(1, 51)]
        files = sorted(map(tuple, await connection.fetch(FILES)))
        await upgrade(empty_database_url)
        assert sorted(map(tuple, await connection.fetch(FILES))) == files, "no table is rewritten"
        late = await connection.fetchval(OLD_ENQUEUE, 51, model_file(1))
    finally:
        await connection.close()
    async with Database(empty_database_url) as database:
        queue = QueueUnderTest(database, database.lane(), worker=1)
        (new,) = await queue.enqueue(new_job(52))
        rows = {row["id"]: tuple(row)[1:] for row in await database.fetch(STORED)}
        assert [rows[job_id] for job_id in (old[0], late, new.job_id)] == [(0, True), (None, None), (None, None)]
        # They all fail, and come to their second attempt; then they end, and start again.
        await queue.fail(*await queue.claim(100))
        await queue.make_due(*rows)
        assert await queue.complete(*await queue.claim(100)) == [Verdict.OK] * 52
        forced = [new_job(model, force=True) for model in (1, 51, 52)]
        assert {answer.outcome for answer in await queue.enqueue(*forced)} == {EnqueueOutcome.RESET}
        assert {token.job_id for token in await queue.claim(10)} == {old[0], late, new.job_id}
        await assert_sound(database)


@pytest.mark.parametrize("revision", ["0005", "0010", "0014"])
async def test_an_upgrade_lets_a_server_go_first_that_has_one_table_and_needs_another(empty_database_url, revision):
    await upgrade(empty_database_url, revision)
    server, watcher = await asyncpg.connect(empty_database_url), await asyncpg.connect(empty_database_url)
    try:
        # It would never be the one that finds a deadlock.
        await server.execute("SET deadlock_timeout = '10min'")
        async with server.transaction():
            await server.execute("LOCK TABLE attempts IN ROW EXCLUSIVE MODE")
            upgrading = asyncio.create_task(upgrade(empty_database_url))

            async def begun() -> bool:
                return bool(await watcher.fetch(UPGRADES))

            await until(begun)
            for table in ("jobs", "leases", "ready", "notifications"):
                await server.execute(f"LOCK TABLE {table} IN ROW EXCLUSIVE MODE")
            assert not upgrading.done()
        await upgrading
        assert await watcher.fetchval("SELECT version_num FROM thumbq_version") > "0014"
    finally:
        await server.close()
        await watcher.close()
