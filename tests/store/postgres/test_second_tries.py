"""Statements that lose to others, by a deadlock or a serialization failure, are said again."""

from contextlib import asynccontextmanager

import asyncpg
import pytest

from tests.support.conditions import until_blocked
from tests.support.postgres.queue_under_test import new_job
from thumbq_server.domain.job import EnqueueOutcome
from thumbq_server.storage.postgres.database import Database
from thumbq_server.storage.postgres.errors import Unavailable
from thumbq_server.storage.transitions.enqueue import enqueue


async def test_a_statement_that_lost_a_deadlock_is_said_again(queue):
    """The enqueue has job 1 and wants job 3, which another connection holds that waits for job 1."""
    first, second, third = await queue.claimed(new_job(1), new_job(2), new_job(3))
    await queue.complete(first, second, third)
    lock = "SELECT FROM jobs WHERE id = $1 FOR UPDATE"
    # long enough for the winner to wait again, should the second try overtake it
    impatient = f"{queue.database.dsn}{'&' if '?' in queue.database.dsn else '?'}options=-c%20deadlock_timeout%3D200ms"
    async with Database(impatient) as database, rival(database) as holder, rival(database) as winner:
        lane = database.lane()
        await winner.execute(lock, third.job_id)
        await holder.execute(lock, second.job_id)
        requests = [new_job(model, force=True) for model in (1, 2, 3)]
        async with until_blocked(queue, enqueue(lane, requests)) as enqueueing:
            async with until_blocked(queue, winner.execute(lock, first.job_id), count=2):
                await holder.execute("COMMIT")
            assert not enqueueing.done()
            await winner.execute("COMMIT")
        assert [answer.outcome for answer in await enqueueing] == [EnqueueOutcome.RESET] * 3


@asynccontextmanager
async def rival(database):
    """A connection in a transaction that is never the one to give way."""
    connection = await asyncpg.connect(database.dsn, server_settings={"deadlock_timeout": "1min"})
    try:
        await connection.execute("BEGIN")
        yield connection
    finally:
        await connection.close()


async def test_a_deadlock_without_end_is_unavailable(database):
    tries = []

    async def always_loses(connection):
        tries.append(connection)
        await connection.execute("DO $$ BEGIN RAISE deadlock_detected; END $$")

    with pytest.raises(Unavailable, match="Deadlock"):
        await database.run(always_loses)
    assert len(tries) == 5


async def test_work_on_a_pooled_connection_is_run_again_after_a_serialization_failure(database):
    tries = []

    async def loses_once(connection):
        tries.append(connection)
        if len(tries) == 1:
            await connection.execute("DO $$ BEGIN RAISE serialization_failure; END $$")
        return await connection.fetchval("SELECT 42")

    assert await database.run(loses_once) == 42
    assert len(tries) == 2
