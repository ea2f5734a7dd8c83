"""Claiming: each job goes to one claimer, in the stated order."""

import asyncio
import random
from itertools import combinations

import asyncpg
import pytest

from tests.support.conditions import at_once
from tests.support.postgres.queue_under_test import model_file, new_job
from thumbq_server.storage import workers
from thumbq_server.storage.reads.leases import held_leases
from thumbq_server.storage.transitions.claim import ClaimRequest, claim


async def test_a_claim_counts_an_attempt_and_grants_a_lease(queue):
    [job_id] = await queue.enqueued(new_job(7, priority=2, max_attempts=5))
    pending = await queue.job(job_id)
    await queue.news()
    (row,) = await claim(queue.lane, ClaimRequest([queue.worker], [30]))
    assert (row.job_id, row.attempt) == (job_id, 1)
    assert (row.model_id, row.model_hash) == (7, model_file(1))
    assert (row.priority, row.max_attempts, row.created_at) == (2, 5, pending.created_at)
    assert (row.expires_at - row.claimed_at).total_seconds() == 30

    job = await queue.job(job_id)
    assert (job.status, job.attempt_count, job.lease_seq) == ("Processing", 1, row.lease_seq)
    assert (job.worker_id, job.run_at) == ("worker-1", None)
    assert (job.lease_expires_at, job.updated_at) == (row.expires_at, row.claimed_at)
    assert await queue.news() == [], "a claim is not announced"


async def test_an_empty_queue_gives_nothing_and_writes_nothing(queue):
    async with queue.unchanged():
        assert await queue.claim(10) == []


async def test_a_claim_takes_no_more_than_there_are_slots(queue):
    await queue.enqueued(*[new_job(model) for model in range(1, 6)])
    assert await queue.claim(0) == []
    assert len(await queue.claim(3)) == 3
    assert len(await queue.claim(3)) == 2
    assert await queue.claim(3) == []


async def test_each_slot_has_its_worker_and_its_lease_time_in_the_order_of_rank(queue):
    other = await workers.register(queue.database, "worker-2")
    ids = await queue.enqueued(*[new_job(model, priority=9 - model) for model in (1, 2, 3)])
    rows = await claim(queue.lane, ClaimRequest([queue.worker, other, queue.worker], [10, 600, 30]))
    assert [row.job_id for row in rows] == ids
    assert [(row.expires_at - row.claimed_at).total_seconds() for row in rows] == [10, 600, 30]
    holders = [(await queue.job(job_id)).worker_id for job_id in ids]
    assert holders == ["worker-1", "worker-2", "worker-1"]
    assert await held_leases(queue.database, other) == [rows[1].token]


async def test_attempts_and_leases_grow_with_each_claim_of_a_job(queue):
    [job_id] = await queue.enqueued(new_job(7))
    before = 0
    for number in (1, 2, 3):
        (row,) = await claim(queue.lane, ClaimRequest([queue.worker], [30]))
        assert (row.job_id, row.attempt) == (job_id, number)
        assert row.lease_seq > before
        before = row.lease_seq
        await queue.fail(row.token)
        await queue.make_due(job_id)


async def test_higher_priority_goes_first_and_equals_in_the_order_of_arrival(queue):
    priorities = [0, 9, 5, 5, 0, 9]
    ids = [(await queue.enqueued(new_job(n, priority=p)))[0] for n, p in enumerate(priorities, 1)]
    in_order = [ids[1], ids[5], ids[2], ids[3], ids[0], ids[4]]
    assert [token.job_id for token in await queue.claim(6)] == in_order


async def test_jobs_of_one_batch_go_in_the_order_of_their_ids(queue):
    ids = await queue.enqueued(*[new_job(model) for model in range(1, 51)])
    claimed = [token.job_id for _ in range(5) for token in await queue.claim(10)]
    assert claimed == sorted(ids)


@pytest.mark.parametrize(("waited", "first"), [(299, "urgent"), (301, "patient")])
async def test_a_minute_of_waiting_outweighs_a_step_of_priority(queue, waited, first):
    ids = dict(zip(("patient", "urgent"), await queue.enqueued(new_job(1), new_job(2, priority=5)), strict=True))
    await queue.make_due(ids["patient"], seconds_ago=waited)
    await queue.make_due(ids["urgent"])
    assert (await queue.claim())[0].job_id == ids[first]


async def test_no_job_is_overtaken_by_one_due_later_than_its_priority_allows(queue):
    dice = random.Random(7)
    due = {}
    for model in range(1, 101):
        priority, age = dice.randint(0, 9), dice.uniform(0, 1200)
        [job_id] = await queue.enqueued(new_job(model, priority=priority))
        await queue.make_due(job_id, seconds_ago=age)
        due[job_id] = (priority, (await queue.job(job_id)).run_at)
    order = [token.job_id for _ in range(10) for token in await queue.claim(10)]
    assert set(order) == set(due)
    for earlier, later in combinations(order, 2):
        overtaken = (due[earlier][1] - due[later][1]).total_seconds()
        assert overtaken <= max(0, due[earlier][0] - due[later][0]) * 60


async def test_priority_does_not_bring_a_delayed_job_forward(queue):
    await queue.enqueue(new_job(7, priority=9, delay=60))
    assert await queue.claim() == []


async def test_twenty_claimers_share_the_jobs_and_none_gets_another_s(queue, lanes):
    ids = await queue.enqueued(*[new_job(model) for model in range(1, 501)])

    async def claim_until_empty(lane):
        claimed = []
        while rows := await claim(lane, ClaimRequest([queue.worker] * 7, [30] * 7)):
            claimed += [row.job_id for row in rows]
        return claimed

    shares = await at_once(*[claim_until_empty(lane) for lane in lanes])
    assert sorted(job_id for share in shares for job_id in share) == sorted(ids)
    assert await queue.value("count(*) FROM leases WHERE attempt = 1") == 500


async def test_a_claim_passes_by_what_another_is_claiming(queue):
    first, second = await queue.enqueued(new_job(1), new_job(2))
    other = await asyncpg.connect(queue.database.dsn)
    try:
        async with other.transaction():
            await other.execute("SELECT FROM ready WHERE job_id = $1 FOR UPDATE", first)
            claimed = await asyncio.wait_for(queue.claim(2), timeout=30)
            assert [token.job_id for token in claimed] == [second]
    finally:
        await other.close()
    assert [token.job_id for token in await queue.claim(2)] == [first]


async def test_a_lease_begins_and_ends_by_the_clock_of_the_database(queue):
    await queue.enqueue(new_job(7))
    before = await queue.value("now()")
    (row,) = await claim(queue.lane, ClaimRequest([queue.worker], [30]))
    assert before < row.claimed_at < await queue.value("now()")
