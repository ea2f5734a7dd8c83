"""An upgrade from 0008 adds kinds to a queue that is in use; servers of the older version go on."""

import asyncpg

from tests.support.postgres.invariants import assert_sound
from tests.support.postgres.queue_under_test import QueueUnderTest, model_file, new_job
from thumbq_server.domain.job import Enqueued, EnqueueOutcome
from thumbq_server.storage.migrations import upgrade
from thumbq_server.storage.postgres.database import Database

# What a server of the version before does for an enqueue of one job, and to read it.
OLD_ENQUEUE = """
    WITH created AS (
        INSERT INTO jobs (model_id, model_hash, priority, max_attempts) VALUES ($1, $2, 0, 3)
        RETURNING id, model_id, model_hash, created_at, due_at
    ), head AS (
        UPDATE queue_head SET jobs = jobs + 1
    )
    INSERT INTO ready (rank, job_id, run_at, model_id, created_at, priority, max_attempts, attempt, model_hash)
    SELECT due_at, id, due_at, model_id, created_at, 0, 3, 0, model_hash FROM created RETURNING job_id
"""
FILES = """
    SELECT relname, pg_relation_filenode(oid) FROM pg_class
     WHERE relname IN ('jobs', 'ready', 'leases', 'ready_pkey', 'jobs_pkey') ORDER BY relname
"""


async def test_jobs_of_before_are_models_without_options_and_no_table_is_rewritten(empty_database_url):
    await upgrade(empty_database_url, "0008")
    connection = await asyncpg.connect(empty_database_url)
    try:
        before = [await connection.fetchval(OLD_ENQUEUE, model, model_file(1)) for model in range(1, 501)]
        files = await connection.fetch(FILES)
        columns = await connection.fetch("SELECT * FROM job_states LIMIT 1")
        await upgrade(empty_database_url)
        assert await connection.fetch(FILES) == files
        after = await connection.fetch("SELECT * FROM job_states LIMIT 1")
        assert list(after[0].keys()) == list(columns[0].keys()), "an older server reads all columns of the view"
        late = await connection.fetchval(OLD_ENQUEUE, 501, model_file(1))
    finally:
        await connection.close()
    async with Database(empty_database_url) as database:
        queue = QueueUnderTest(database, database.lane(), worker=1)
        assert await queue.enqueue(new_job(501)) == [Enqueued(late, EnqueueOutcome.EXISTING)]
        claimed = await queue.claim_of(count=1000)
        assert sorted(job.job_id for job in claimed) == [*before, late]
        assert {(job.kind, job.options) for job in claimed} == {("Model", None)}
        await queue.enqueue(new_job(1000, kind="Sound"))
        assert [job.model_id for job in await queue.claim_of("Sound")] == [1000]
        await assert_sound(database)
