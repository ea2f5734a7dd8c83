"""An upgrade from 0.1.0 moves every job and every picture to the new tables."""

import asyncio

import asyncpg
import pytest

from tests.support.conditions import until
from tests.support.postgres.invariants import assert_sound
from tests.support.postgres.queue_under_test import QueueUnderTest, model_file, new_job
from thumbq_server.domain.job import Token, Verdict
from thumbq_server.storage.migrations import upgrade
from thumbq_server.storage.postgres.database import Database
from thumbq_server.storage.reads.history import read_history

# A job in each situation that 0.1.0 could leave it in. The model has the number of the first of its jobs.
FILLED = """
INSERT INTO workers (worker_id) VALUES ('ada');
INSERT INTO jobs (model_id, model_hash, request_no, priority, max_attempts, attempt_count, lease_seq, outcome,
                  error_message, due_at, finished_at)
SELECT model_id, decode(lpad(file::text, 64, '0'), 'hex'), request_no, priority, 3, attempt_count, lease_seq, outcome,
       error_message, now() + delay, CASE WHEN outcome IS NOT NULL THEN now() END
  FROM (VALUES
    ( 1, 1,  1, 0, 1, 1, 'Completed', NULL,   interval '0'),   -- 1  shown
    ( 2, 1,  2, 3, 0, 0, NULL,        NULL,   interval '60s'), -- 2  waits for its first attempt
    ( 3, 1,  3, 0, 1, 1, NULL,        'boom', interval '0'),   -- 3  waits for its second
    ( 4, 1,  4, 0, 0, 0, NULL,        NULL,   interval '0'),   -- 4  under way
    ( 5, 1,  5, 0, 3, 3, 'Failed',    'boom', interval '0'),   -- 5  dead
    ( 6, 1,  6, 0, 0, 0, 'Cancelled', NULL,   interval '0'),   -- 6  cancelled while it waited
    ( 7, 1,  7, 0, 1, 1, 'Completed', NULL,   interval '0'),   -- 7  completed, and replaced by the next
    ( 7, 2,  8, 0, 1, 1, 'Completed', NULL,   interval '0'),   -- 8
    ( 9, 1, 19, 0, 0, 1, NULL,        NULL,   interval '0'),   -- 9  completed, and forced to start again
    (10, 1, 20, 0, 3, 4, 'Failed',    'bang', interval '0'),   -- 10 completed, then forced, then dead
    (11, 1, 11, 5, 1, 1, NULL,        'boom', interval '0'),   -- 11 in its second attempt, and forced to run again
    (12, 1, 12, 0, 0, 0, NULL,        NULL,   interval '0'),   -- 12 given back once
    (13, 1, 13, 0, 1, 1, 'Completed', NULL,   interval '0'),   -- 13 its picture stays, though the next has failed
    (13, 2, 14, 0, 1, 1, 'Failed',    'bang', interval '0'),   -- 14
    (15, 1, 15, 0, 2, 2, 'Cancelled', 'boom', interval '0')    -- 15 cancelled while it waited for its third attempt
  ) AS j (model_id, file, request_no, priority, attempt_count, lease_seq, outcome, error_message, delay);
SELECT setval('request_seq', 100);
INSERT INTO ready (job_id, rank, run_at, attempt, lease_seq)
SELECT id, run_at - priority * interval '60s', run_at, r.attempt, r.lease_seq
  FROM (VALUES (2, interval '60s', 0, 0), (3, interval '5s', 1, 1), (9, interval '0', 0, 1), (12, interval '0', 0, 1))
    AS r (job_id, wait, attempt, lease_seq)
  JOIN jobs ON id = job_id CROSS JOIN LATERAL (SELECT created_at + wait AS run_at) t;
INSERT INTO leases (job_id, lease_seq, worker, attempt, rank, run_at, claimed_at, expires_at, rerun_request_no)
SELECT id, l.lease_seq, 1, l.attempt, now() - priority * interval '60s', now(), now(), now() + interval '1h', rerun
  FROM (VALUES (4, 1, 1, NULL), (11, 2, 2, 21)) AS l (job_id, lease_seq, attempt, rerun) JOIN jobs ON id = job_id;
INSERT INTO dead_letters (job_id, status)
SELECT id, outcome FROM jobs WHERE outcome IN ('Failed', 'Cancelled');
INSERT INTO thumbnails (model_id, job_id, request_no, attempt, status, error_message, next_attempt_at, path, size_bytes,
                        width, height, model_hash, created_at)
SELECT t.model_id, t.job_id, t.request_no, t.attempt, t.status, t.error_message, r.run_at, t.path,
       CASE WHEN t.path IS NOT NULL THEN 1234 END, CASE WHEN t.path IS NOT NULL THEN 512 END,
       CASE WHEN t.path IS NOT NULL THEN 256 END,
       CASE WHEN t.path IS NOT NULL THEN decode(lpad(file::text, 64, '0'), 'hex') END, j.created_at
  FROM (VALUES
    ( 1,  1,  1, 1, 'Ready',  NULL,   '/1.webp',  1),
    ( 3,  3,  3, 1, 'Failed', 'boom', NULL,       1),
    ( 5,  5,  5, 3, 'Failed', 'boom', NULL,       1),
    ( 7,  8,  8, 1, 'Ready',  NULL,   '/8.webp',  2),
    ( 9,  9,  9, 1, 'Ready',  NULL,   '/9.webp',  1),
    (10, 10, 20, 3, 'Failed', 'bang', '/10.webp', 1),
    (11, 11, 11, 1, 'Failed', 'boom', NULL,       1),
    (13, 14, 14, 1, 'Failed', 'bang', '/13.webp', 1)
  ) AS t (model_id, job_id, request_no, attempt, status, error_message, path, file)
  JOIN jobs j ON j.id = t.job_id
  LEFT JOIN (SELECT job_id, run_at FROM ready UNION ALL SELECT job_id, run_at FROM leases) r
    ON r.job_id = t.job_id AND t.status = 'Failed';
UPDATE queue_head SET completed = 4
"""

JOBS = """
    SELECT id, model_id, model_hash, request_no, priority, max_attempts, error_message, created_at, finished_at, status,
           attempt_count, run_at, lease_expires_at, worker_id
      FROM job_states ORDER BY id
"""
THUMBNAILS = """
    SELECT model_id, job_id, request_no, attempt, status, error_message, next_attempt_at, path, size_bytes, width,
           height, model_hash, created_at, processed_at
      FROM thumbnails ORDER BY model_id
"""


async def seen(dsn):
    """Everything that can be seen of jobs and models."""
    connection = await asyncpg.connect(dsn)
    try:
        return [dict(row) for query in (JOBS, THUMBNAILS) for row in await connection.fetch(query)]
    finally:
        await connection.close()


@pytest.fixture
async def filled(empty_database_url):
    """A database of 0.1.0."""
    await upgrade(empty_database_url, "0001")
    connection = await asyncpg.connect(empty_database_url)
    try:
        await connection.execute(FILLED)
    finally:
        await connection.close()
    return empty_database_url


async def test_an_upgrade_changes_nothing_that_can_be_seen(filled):
    before = await seen(filled)
    await upgrade(filled)
    assert await seen(filled) == before
    async with Database(filled) as database:
        await assert_sound(database)


async def test_an_upgraded_queue_goes_on_where_it_was(filled):
    await upgrade(filled)
    async with Database(filled) as database:
        queue = QueueUnderTest(database, database.lane(), worker=1)
        assert await queue.complete(Token(4, 1), Token(11, 2)) == [Verdict.OK, Verdict.OK]
        assert await queue.complete(Token(1, 1)) == [Verdict.ALREADY_DONE]
        await queue.make_due(2, 3)
        tokens = await queue.claim(10)
        assert {token.job_id for token in tokens} == {2, 3, 9, 11, 12}
        assert all(token.lease_seq > 4 for token in tokens)
        assert await queue.complete(*tokens) == [Verdict.OK] * 5
        answers = await queue.enqueue(new_job(1, file=1), new_job(16))
        assert answers[1].job_id > 15
        assert (await queue.thumbnail(9)).model_hash == model_file(1)
        history = await read_history(database, 3)
        assert [(attempt.attempt, attempt.outcome) for attempt in history] == [(1, "Failed"), (2, "Completed")]
        await assert_sound(database)


async def test_an_upgrade_that_is_interrupted_has_changed_nothing_and_is_done_again(filled):
    before = await seen(filled)
    other, watcher = await asyncpg.connect(filled), await asyncpg.connect(filled)
    # A transaction sees pg_stat_activity as it was at its first look, so the watcher has none.
    waiting = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    try:
        transaction = other.transaction()
        await transaction.start()
        # the last step of the upgrade has to wait for this name
        await other.execute("CREATE TABLE obstacle (job_id bigint); CREATE INDEX attempts_dead ON obstacle (job_id)")
        upgrading = asyncio.create_task(upgrade(filled))

        async def blocked() -> bool:
            return bool(await watcher.fetch(waiting))

        await until(blocked)
        await watcher.execute(f"SELECT pg_terminate_backend(pid) FROM ({waiting}) AS w")
        with pytest.raises(Exception, match=r"terminat|connection"):
            await upgrading
        await transaction.rollback()
        assert await seen(filled) == before
    finally:
        await other.close()
        await watcher.close()
    await upgrade(filled)
    assert await seen(filled) == before
