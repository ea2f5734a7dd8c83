"""The log forgets from its beginning, in pieces, and never gets a hole."""

from collections.abc import AsyncIterator

import pytest

from tests.support.conditions import at_once
from tests.support.postgres.queue_under_test import QueueUnderTest, new_job
from thumbq_server.storage import maintenance, notification_log, workers
from thumbq_server.storage.postgres.database import Database

DAY = 86_400.0


@pytest.fixture
async def queue(database_url: str) -> AsyncIterator[QueueUnderTest]:
    """A queue in a database of its own, whose log need not begin at its beginning."""
    async with Database(database_url) as database:
        yield QueueUnderTest(database, database.lane(), await workers.register(database, "worker-1"))


async def write(queue: QueueUnderTest, *ages: float) -> None:
    """As many commits of two notifications each, of such ages in seconds."""
    for age in ages:
        _, seq = await notification_log.head(queue.database)
        await queue.enqueue(new_job(seq + 1), new_job(seq + 2))
        await queue.sql(
            "UPDATE notifications SET created_at = now() - make_interval(secs => $1) WHERE seq_last = $2", age, seq + 2
        )


async def kept(queue: QueueUnderTest) -> list[int]:
    return [row.seq_last for row in await notification_log.after(queue.database, 0, 1000)]


async def test_what_is_older_than_it_shall_be_kept_is_forgotten(queue):
    await write(queue, DAY + 2, DAY + 1, DAY - 60, 0)
    assert await maintenance.prune_log(queue.database, DAY, 100) == 2
    assert await kept(queue) == [6, 8]
    assert await notification_log.oldest(queue.database) == 5
    assert (await notification_log.head(queue.database))[1] == 8
    assert await maintenance.prune_log(queue.database, DAY, 100) == 0


async def test_no_more_is_forgotten_at_once_than_is_asked_for(queue):
    await write(queue, *[DAY + 10] * 5)
    assert [await maintenance.prune_log(queue.database, DAY, 2) for _ in range(4)] == [2, 2, 1, 0]


async def test_what_is_old_stays_behind_what_is_not(queue):
    """Its transaction began earlier and committed later. Without it, the log would have a hole."""
    await write(queue, DAY + 1, 0, DAY + 1, DAY + 1)
    assert await maintenance.prune_log(queue.database, DAY, 100) == 1
    assert await kept(queue) == [4, 6, 8]


async def test_a_log_that_is_forgotten_to_its_end_goes_on_from_there(queue):
    await write(queue, DAY + 1, DAY + 1)
    assert await maintenance.prune_log(queue.database, DAY, 100) == 2
    assert await notification_log.oldest(queue.database) is None
    await write(queue, 0)
    assert await kept(queue) == [6]
    assert await notification_log.oldest(queue.database) == 5


async def test_many_that_prune_at_once_forget_each_commit_once(queue, database_url):
    await write(queue, *[DAY + 1] * 40, 0)
    async with Database(database_url, pool_size=8) as database:
        counts = await at_once(*[maintenance.prune_log(database, DAY, 7) for _ in range(8)])
        while pruned := await maintenance.prune_log(database, DAY, 7):
            counts.append(pruned)
    assert sum(counts) == 40
    assert await kept(queue) == [82]


async def test_the_oldest_are_found_by_key_however_many_there_are(queue):
    await queue.sql("""
        INSERT INTO notifications (seq_last, seq_first, status, model_ids, job_ids, attempt_counts, created_at)
        SELECT n, n, 'Pending', ARRAY[1], ARRAY[1], ARRAY[0], now() - interval '2 days'
          FROM generate_series(1, 50000) AS n
    """)
    plan = "\n".join(row[0] for row in await queue.sql(f"EXPLAIN {notification_log.OLDEST}"))
    assert "Index" in plan
    plan = "\n".join(
        row[0]
        for row in await queue.sql("EXPLAIN " + maintenance.PRUNE_LOG.text.replace("$1", "86400").replace("$2", "1000"))
    )
    assert "Seq Scan" not in plan
    assert await maintenance.prune_log(queue.database, DAY, 1000) == 1000
    assert await notification_log.oldest(queue.database) == 1001
