"""The queue in figures, whatever the log holds."""

from tests.support.queue_under_test import QueueUnderTest, failure, new_job
from thumbq_server.storage.reads.statistics import read_activity, read_depth, read_durations


async def complete(queue: QueueUnderTest, *model_ids: int) -> None:
    await queue.complete(*await queue.claimed(*map(new_job, model_ids)))


async def test_only_the_last_five_minutes_of_the_log_count(queue, database):
    for number in range(1, 8):
        await complete(queue, number, number + 100)
    await queue.sql("UPDATE notifications SET created_at = created_at - interval '10 minutes'")
    assert await read_activity(database) == []
    await complete(queue, 21, 22, 23)
    (token,) = await queue.claimed(new_job(24))
    await queue.fail(failure(token))
    activity = await read_activity(database)
    assert (sum(row.completed for row in activity), sum(row.failed for row in activity)) == (3, 1)


async def test_the_wait_of_a_retry_begins_when_the_retry_is_due(queue, database):
    (token,) = await queue.claimed(new_job(1))
    await queue.sql("UPDATE jobs SET due_at = due_at - interval '1 hour'")
    await queue.fail(failure(token, retry_delay=0))
    await queue.complete(*await queue.claim())
    durations = await read_durations(database)
    assert durations.samples == 1
    assert durations.wait is not None
    assert durations.wait.p99 < 3000


async def test_beyond_the_limit_the_number_of_waiting_jobs_is_marked_as_an_estimate(queue, database, monkeypatch):
    monkeypatch.setattr("thumbq_server.storage.reads.statistics.COUNTED", 2)
    await queue.enqueued(new_job(1), new_job(2))
    assert not (await read_depth(database)).pending_is_estimate
    await queue.enqueued(new_job(3))
    depth = await read_depth(database)
    assert depth.pending_is_estimate
    assert depth.counters.pending >= 3
