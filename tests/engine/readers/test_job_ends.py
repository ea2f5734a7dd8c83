"""Waiting for the ends of jobs: one reader of the log wakes those that it concerns."""

import asyncio

import pytest

from tests.engine.parts import NEVER, WatchedDatabase, until
from tests.engine.readers.reader import caught_up, following, seq_of_head, write
from tests.support.postgres.queue_under_test import QueueUnderTest, new_job
from thumbq_server.domain.job import JobStatus
from thumbq_server.domain.refusals import NotFound
from thumbq_server.engine.readers.hub import Hub
from thumbq_server.engine.readers.join import JobEnds
from thumbq_server.engine.readers.subscription import Subscriptions
from thumbq_server.engine.readers.views import Views
from thumbq_server.storage.reads.jobs import LIVE_AMONG, READ_JOB
from thumbq_server.storage.transitions.forget import forget

MANY = 200


@pytest.fixture
def ends(watched: WatchedDatabase, hub: Hub) -> JobEnds:
    """What looks at no job unless the log tells of it."""
    return JobEnds(Views(watched), Subscriptions(watched, hub), poll=NEVER)


def reads(watched: WatchedDatabase) -> int:
    """How often a job was read."""
    return watched.asked.count(str(READ_JOB))


async def head(others: QueueUnderTest) -> int:
    return await write(others, [])


async def test_what_happens_to_other_jobs_wakes_none_however_many_wait(
    ends: JobEnds, watched: WatchedDatabase, hub: Hub, others: QueueUnderTest
) -> None:
    first, second = await others.claimed(new_job(1), new_job(2))
    waiting = [asyncio.create_task(ends.job(first.job_id, NEVER)) for _ in range(MANY)]
    another = asyncio.create_task(ends.job(second.job_id, NEVER))
    await following(hub)
    await until(lambda: reads(watched) == 2 * (MANY + 1) and not watched.in_flight)
    await caught_up(hub, await write(others, [1] * 20))

    await others.complete(first)
    await caught_up(hub, await head(others))
    async with asyncio.timeout(30):
        assert {job.status for job in await asyncio.gather(*waiting)} == {JobStatus.COMPLETED}
    assert reads(watched) == 3 * MANY + 2
    assert not another.done()

    await others.complete(second)
    hub.wake()
    assert (await asyncio.wait_for(another, 30)).status is JobStatus.COMPLETED
    await until(lambda: hub._seq is None)  # nothing waits, so nothing reads


async def test_who_has_waited_long_enough_gets_the_job_as_it_is(ends: JobEnds, others: QueueUnderTest) -> None:
    (claimed,) = await others.claimed(new_job(1))
    assert (await ends.job(claimed.job_id, 0.05)).status is JobStatus.PROCESSING
    assert (await ends.job(claimed.job_id, 0.0)).status is JobStatus.PROCESSING


async def test_who_waits_when_the_log_was_pruned_or_the_server_goes_away_looks_again(
    ends: JobEnds, watched: WatchedDatabase, hub: Hub, others: QueueUnderTest
) -> None:
    first, second = await others.claimed(new_job(1), new_job(2))
    waiting, another = (asyncio.create_task(ends.job(one.job_id, NEVER)) for one in (first, second))
    await following(hub)
    await until(lambda: reads(watched) == 4 and not watched.in_flight)
    await others.complete(first)
    await write(others, [1])
    await others.sql("DELETE FROM notifications WHERE seq_last < (SELECT max(seq_last) FROM notifications)")
    await caught_up(hub, await head(others))
    assert (await asyncio.wait_for(waiting, 30)).status is JobStatus.COMPLETED
    hub.close()
    assert (await asyncio.wait_for(another, 30)).status is JobStatus.PROCESSING
    assert (await asyncio.wait_for(ends.job(second.job_id, NEVER), 30)).status is JobStatus.PROCESSING


async def test_the_end_of_a_job_that_a_newer_request_has_overtaken_is_found_by_looks_for_all_that_wait(
    watched: WatchedDatabase, hub: Hub, others: QueueUnderTest
) -> None:
    ends = JobEnds(Views(watched), Subscriptions(watched, hub), poll=0.02)
    older, newer = await others.claimed(new_job(7, file=1), new_job(7, file=2))
    await others.complete(newer)
    waiting = [asyncio.create_task(ends.job(older.job_id, NEVER)) for _ in range(MANY)]
    await until(lambda: reads(watched) == 2 * MANY)
    looks = watched.asked.count(str(LIVE_AMONG))
    await until(lambda: watched.asked.count(str(LIVE_AMONG)) >= looks + 3)
    assert reads(watched) == 2 * MANY, "looks wake nobody whose job is still under way"
    told = await seq_of_head(others)
    await others.complete(older)
    assert await seq_of_head(others) == told
    async with asyncio.timeout(30):
        assert {job.status for job in await asyncio.gather(*waiting)} == {JobStatus.COMPLETED}


async def test_who_waits_for_a_job_of_a_model_that_is_forgotten_learns_that_it_is_gone(
    watched: WatchedDatabase, hub: Hub, others: QueueUnderTest
) -> None:
    ends = JobEnds(Views(watched), Subscriptions(watched, hub), poll=0.02)
    jobs = await others.enqueued(new_job(7, file=1), new_job(7, file=2))
    waiting = [asyncio.create_task(ends.job(job_id, NEVER)) for job_id in jobs]
    await until(lambda: reads(watched) == 4)
    await forget(others.lane, 7)
    for one in waiting:
        with pytest.raises(NotFound):
            await asyncio.wait_for(one, 30)
