"""Jobs that ended long ago are deleted, and what models and versions show stays."""

from functools import partial
from types import SimpleNamespace
from typing import Any

import asyncpg
import pytest

from tests.support.conditions import meddled, until_blocked
from tests.support.postgres.queue_under_test import QueueUnderTest, failure, model_file, new_job, picture
from thumbq_server.domain.job import EnqueueOutcome
from thumbq_server.domain.job_events import NewJobEvent
from thumbq_server.domain.model_versions import NewVersion
from thumbq_server.domain.refusals import NotFound
from thumbq_server.engine.readers.views import Views
from thumbq_server.engine.upkeep import duties
from thumbq_server.engine.upkeep.duties import PruneJobs
from thumbq_server.storage import job_events, maintenance, model_versions
from thumbq_server.storage.reads.thumbnails import read_thumbnail
from thumbq_server.storage.transitions import forget
from thumbq_server.storage.transitions.enqueue import enqueue
from thumbq_server.storage.transitions.revivals import RESET

MONTH = 30 * 86_400.0


async def ages(queue: QueueUnderTest) -> None:
    """Let every attempt have ended 31 days ago, and every ended job have begun as long ago."""
    await queue.sql("UPDATE attempts SET ended_at = ended_at - interval '31 days'")
    ended = "SELECT id FROM job_states WHERE finished_at IS NOT NULL"
    await queue.sql(f"UPDATE jobs SET created_at = created_at - interval '31 days' WHERE id IN ({ended})")


async def pruned(queue: QueueUnderTest, keep: float = MONTH) -> int:
    count, next_after = await maintenance.prune_jobs(queue.database, keep, 0, 100)
    assert next_after is None
    return count


async def ids(queue: QueueUnderTest) -> list[int]:
    return [row["id"] for row in await queue.sql("SELECT id FROM jobs ORDER BY id")]


async def completed(queue: QueueUnderTest, model_id: int, file: int, path: str = "") -> int:
    (token,) = await queue.claimed(new_job(model_id, file))
    await queue.complete(picture(token, path))
    return token.job_id


async def test_an_old_picture_goes_when_the_model_shows_a_newer_one(queue):
    old = await completed(queue, 1, file=1)
    event = NewJobEvent(old, "Rendered", "in one second", None, None)
    await job_events.log(queue.lane, [event], 600)
    new = await completed(queue, 1, file=2, path="/new.webp")
    assert await pruned(queue) == 0  # both ended just now
    await ages(queue)
    shown = await read_thumbnail(queue.database, 1)
    assert await pruned(queue) == 1
    assert await ids(queue) == [new]
    assert await queue.sql("SELECT FROM job_events") == []
    assert await read_thumbnail(queue.database, 1) == shown
    assert shown.path == "/new.webp"


async def test_the_only_job_of_a_model_stays_however_it_ended(queue):
    await completed(queue, 1, file=1)
    (token,) = await queue.claimed(new_job(2))
    await queue.fail(failure(token, retryable=False))
    await queue.job_in("Cancelled", new_job(3))
    await ages(queue)
    assert await pruned(queue) == 0


async def test_a_picture_that_is_served_after_a_failed_render_stays(queue):
    old = await completed(queue, 1, file=1, path="/good.webp")
    (token,) = await queue.claimed(new_job(1, file=2))
    await queue.fail(failure(token, retryable=False))
    await ages(queue)
    assert await pruned(queue) == 0
    assert (await read_thumbnail(queue.database, 1)).path == "/good.webp"
    assert old in await ids(queue)


async def test_the_picture_of_a_version_stays(queue):
    old = await completed(queue, 1, file=1, path="/old.webp")
    await completed(queue, 1, file=2)
    await model_versions.write(queue.database, [NewVersion(7, 1, model_file(1))])
    await ages(queue)
    assert await pruned(queue) == 0
    assert old in await ids(queue)


@pytest.mark.parametrize("state", ["Pending", "Waiting", "Processing"])
async def test_a_job_that_lives_is_never_pruned(queue, state):
    token = await queue.job_in(state, new_job(1, file=1))
    await queue.enqueued(new_job(1, file=2))
    await ages(queue)
    assert await pruned(queue) == 0
    assert token.job_id in await ids(queue)


@pytest.mark.parametrize("state", ["Completed", "Failed", "Cancelled"])
async def test_the_counters_follow(queue, state):
    token = await queue.job_in(state, new_job(1, file=1))
    await completed(queue, 1, file=2)
    await ages(queue)
    assert await pruned(queue) == 1
    assert token.job_id not in await ids(queue)  # that the head agrees is asserted after each test


async def test_a_job_that_starts_again_meanwhile_stays(queue, lanes, database):
    old = await completed(queue, 1, file=1)
    await completed(queue, 1, file=2)
    await ages(queue)

    async def starts_again(connection: Any) -> None:
        """Find the job as the duty does; then an operator is faster than its locks."""
        (found,) = await connection.fetch(maintenance.FIND_OLD_JOBS.text, 0, MONTH, 100)
        assert found["job_ids"] == [old]
        await queue.on(lanes[1]).enqueue(new_job(1, file=1, force=True))
        assert await maintenance.prune_found(connection, found["job_ids"], MONTH) == 0

    await database.run(starts_again)
    assert old in await ids(queue)


async def test_a_pruned_file_is_a_new_job_when_it_is_asked_for_again(queue):
    old = await completed(queue, 1, file=1)
    await completed(queue, 1, file=2)
    await ages(queue)
    await pruned(queue)
    [again] = await queue.enqueued(new_job(1, file=1))
    assert again != old


async def test_a_file_that_is_pruned_while_it_is_asked_for_is_a_new_job(queue):
    old = await completed(queue, 1, file=1)
    await completed(queue, 1, file=2)
    await ages(queue)

    async def prune() -> None:
        assert await pruned(queue) == 1

    async with meddled(queue.database, RESET, prune) as lane:
        [answer] = await enqueue(lane, [new_job(1, file=1)])
    assert (answer.outcome, answer.job_id > old) == (EnqueueOutcome.CREATED, True)


async def test_the_duty_goes_on_where_it_ended_and_begins_again_after_a_rest(queue, database, monkeypatch):
    clock = SimpleNamespace(now=1000.0)
    monkeypatch.setattr(duties, "time", SimpleNamespace(monotonic=lambda: clock.now))
    monkeypatch.setattr(duties, "PRUNE_LIMIT", 2)
    monkeypatch.setattr(duties, "_PRUNE_SECONDS", 0.0)  # one piece a run
    for file in range(1, 6):
        await completed(queue, 1, file)
    await ages(queue)
    duty = PruneJobs(database, MONTH)
    assert [await duty() for _ in range(3)] == [2, 2, 0]
    assert len(await ids(queue)) == 1
    await completed(queue, 1, 6)
    await ages(queue)
    assert await duty() == 0
    clock.now += 60
    assert await duty() == 1


async def test_a_walk_ends_where_jobs_are_too_young_to_have_ended_so_long_ago(queue, database):
    old = [await completed(queue, 1, file) for file in range(1, 4)]
    await ages(queue)
    young = [await completed(queue, 1, file) for file in range(4, 7)]
    assert await maintenance.prune_jobs(database, MONTH, 0, 3) == (3, old[-1])
    assert await maintenance.prune_jobs(database, MONTH, old[-1], 3) == (0, None)
    # A clock that was ahead for a while does not end it for good.
    await queue.sql("UPDATE jobs SET created_at = now() + interval '1 year'")
    assert await maintenance.prune_jobs(database, MONTH, old[-1], 3) == (0, young[-1])


async def test_what_is_written_of_a_job_while_it_is_forgotten_is_shown_to_no_one_and_goes(queue, lanes, database):
    (token,) = await queue.claimed(new_job(1))
    kept = await completed(queue, 2, file=1)
    line, trace = NewJobEvent(token.job_id, "Rendered", "in one second", None, None), "00-" + "1" * 32 + "-" + "2" * 16
    await job_events.log(queue.lane, [line._replace(job_id=kept)], 600)
    forgetting = await asyncpg.connect(database.dsn)
    transaction = forgetting.transaction()
    await transaction.start()
    await forgetting.execute("SELECT FROM leases FOR UPDATE")
    async with until_blocked(queue, job_events.log(lanes[1], [line], 600)):
        runs = [partial(forgetting.fetch, statement.text) for statement in forget.STATEMENTS]
        await forget._forget(forgetting, *runs, model_id=1)
        await transaction.commit()
    await forgetting.close()
    await queue.sql("INSERT INTO job_traces (job_id, traceparent) VALUES ($1, $2), ($3, $2)", token.job_id, trace, kept)
    assert len(await queue.sql("SELECT FROM job_events")) == 2
    with pytest.raises(NotFound):
        await Views(database).job_events(token.job_id)
    assert await pruned(queue) == 0
    for table in ("job_events", "job_traces"):
        assert [row["job_id"] for row in await queue.sql(f"SELECT job_id FROM {table}")] == [kept]
