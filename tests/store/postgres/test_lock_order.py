"""Statements that meet on several rows lock them in one order. A deadlock is an error here, without a second try.

Each test holds one row until the statements stand in a queue for it; the order in which they go on is then known.
"""

import pytest

from tests.support.conditions import locked, until_blocked
from tests.support.postgres.queue_under_test import failure, new_job, picture, untold
from thumbq_server.domain.job import JobStatus, Verdict
from thumbq_server.storage.transitions.complete import COMPLETE, _parameters

pytestmark = pytest.mark.usefixtures("no_second_try")

OK = Verdict.OK
A, B = 1, 2


async def claimed_first(queue, late, early):
    """The leases of two jobs; the one that was enqueued later has the earlier lease, so ids and leases run against
    each other."""
    late_id, early_id = await queue.enqueued(late, early._replace(priority=9))
    (first,) = await queue.claim()
    (second,) = await queue.claim()
    assert (first.job_id, second.job_id) == (early_id, late_id)
    return first, second


async def test_an_expiry_holds_no_lease_while_it_waits_for_an_earlier_one_of_the_model(queue, lanes):
    a, b = await claimed_first(queue, new_job(7, file=A), new_job(7, file=B))
    await queue.let_run_out(b)
    async with (
        locked(queue.database, f"leases WHERE job_id = {a.job_id}") as lease,
        until_blocked(queue, queue.on(lanes[1]).fail(failure(a, retryable=False))) as failed,
        until_blocked(queue, queue.on(lanes[2]).expire(), count=2) as expired,
    ):
        await lease.execute("COMMIT")
    assert await failed == [OK]
    assert [row.job_id for row in await expired] == [b.job_id]


async def test_an_expiry_spares_a_lease_that_is_extended_while_it_waits(queue, lanes):
    a, b = await claimed_first(queue, new_job(7, file=A), new_job(7, file=B))
    await queue.let_run_out(b)
    async with (
        locked(queue.database, f"leases WHERE job_id = {a.job_id}") as lease,
        until_blocked(queue, queue.on(lanes[1]).expire()) as expired,
    ):
        assert await queue.extend(b) == [OK]
        await lease.execute("COMMIT")
    assert await expired == []
    assert await queue.status(b.job_id) is JobStatus.PROCESSING


async def test_an_end_begins_again_when_a_lease_is_put_back_while_it_waits(queue, lanes):
    """A lease that is put back is a new row, which the waiting statement did not lock."""
    a, b = await claimed_first(queue, new_job(7, file=A), new_job(7, file=B))
    async with locked(queue.database, "workers") as completion:
        (row,) = await completion.fetch(COMPLETE.text, *_parameters([picture(a)])[:-1], True)
        assert row["job_ids"] is None
        async with (
            until_blocked(queue, queue.on(lanes[1]).fail(a, b)) as both,
            locked(queue.database, "queue_head") as head,
        ):
            await completion.execute("COMMIT")
            # one of the two continues to the head, and the other waits for a lease
            async with until_blocked(queue, queue.on(lanes[2]).fail(a), count=2) as failed:
                await head.execute("COMMIT")
    of_a, of_b = await both
    assert of_b is OK
    assert {of_a, *await failed} == {OK, Verdict.STALE}


@pytest.mark.parametrize("verb", ["complete", "fail", "release", "extend"])
async def test_leases_without_a_number_are_locked_in_the_order_of_the_others(queue, lanes, verb):
    first, second = await claimed_first(queue, new_job(7), new_job(8))
    async with (
        locked(queue.database, f"leases WHERE job_id = {first.job_id}") as lease,
        until_blocked(queue, queue.on(lanes[1]).extend(first, second)) as extended,
        until_blocked(queue, getattr(queue.on(lanes[2]), verb)(untold(second), untold(first)), count=2) as untold_ones,
    ):
        await lease.execute("COMMIT")
    assert await extended == [OK, OK]
    assert await untold_ones == [OK, OK]


async def test_a_forced_enqueue_marks_leases_in_the_order_of_the_others(queue, lanes):
    requests = new_job(7), new_job(8)
    first, second = await claimed_first(queue, *requests)
    forced = [request._replace(force=True) for request in requests]
    async with (
        locked(queue.database, f"leases WHERE job_id = {first.job_id}") as lease,
        until_blocked(queue, queue.on(lanes[1]).extend(first, second)) as extended,
        until_blocked(queue, queue.on(lanes[2]).enqueued(*forced), count=2) as enqueued,
    ):
        await lease.execute("COMMIT")
    assert await extended == [OK, OK]
    assert sorted(await enqueued) == sorted(token.job_id for token in (first, second))


async def test_released_jobs_take_their_new_numbers_in_the_order_of_their_ids(queue, lanes):
    """Both were asked for again with force: a release writes that into the jobs."""
    requests = new_job(7), new_job(8)
    first, second = await claimed_first(queue, *requests)
    await queue.enqueue(*[request._replace(force=True) for request in requests])
    low, high = sorted([first.job_id, second.job_id])
    async with (
        locked(queue.database, f"jobs WHERE id = {low}") as job,
        until_blocked(queue, queue.on(lanes[1]).release(first, second)) as released,
    ):
        # the higher one is still free
        assert await queue.sql("SELECT id FROM jobs WHERE id = $1 FOR UPDATE NOWAIT", high)
        await job.execute("COMMIT")
    assert await released == [OK, OK]
