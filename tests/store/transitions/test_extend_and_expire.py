"""Leases in time: a worker that is alive extends them, and what ran out is taken away."""

import asyncio
from datetime import timedelta

import asyncpg

from tests.support.conditions import at_once
from tests.support.postgres.queue_under_test import DELAYS, Event, new_job, untold
from thumbq_server.domain.job import Token, Verdict
from thumbq_server.domain.records import Expired
from thumbq_server.storage.transitions.claim import ClaimRequest, claim
from thumbq_server.storage.transitions.extend import extend
from thumbq_server.storage.transitions.fail import expire

OK, STALE = Verdict.OK, Verdict.STALE
STOPPED = "Lease expired: worker worker-1 stopped responding"


async def test_an_extension_counts_from_now_and_answers_the_new_end(queue):
    (token,) = await queue.claimed(new_job(7))
    before = await queue.value("now()")
    [(verdict, end)] = await extend(queue.lane, [(token, 120.5)])
    after = await queue.value("now()")
    assert verdict is OK
    assert end is not None
    assert before < end - timedelta(seconds=120.5) < after
    assert (await queue.job(token.job_id)).lease_expires_at == end


async def test_an_extension_changes_the_end_of_the_lease_and_nothing_else(queue):
    (token,) = await queue.claimed(new_job(7))
    before = await queue.tables()
    await queue.extend(token)
    after = await queue.tables()
    assert after["leases"][0].pop("expires_at") > before["leases"][0].pop("expires_at")
    assert after == before


async def test_each_of_a_batch_is_extended_by_its_own_time(queue):
    first, second = await queue.claimed(new_job(1), new_job(2))
    gone = Token(first.job_id, 9)
    (long, end), (refused, no_end), (short, sooner) = await extend(
        queue.lane, [(second, 90.0), (gone, 5.0), (first, 30.0)]
    )
    assert (long, refused, short) == (OK, STALE, OK)
    assert end is not None
    assert sooner is not None
    assert no_end is None
    assert end - sooner == timedelta(seconds=60)


async def test_an_extension_by_the_holder_and_one_by_someone_without_token_are_both_heard(queue):
    (token,) = await queue.claimed(new_job(7))
    assert await queue.extend(untold(token), token) == [OK, OK]
    assert await queue.extend(token, untold(token), token) == [OK, OK, OK]


async def test_an_extended_lease_does_not_expire(queue):
    (token,) = await queue.claimed(new_job(7))
    await queue.let_run_out(token)
    await queue.extend(token)
    async with queue.unchanged():
        assert await queue.expire() == []


async def test_a_lease_that_runs_does_not_expire(queue):
    await queue.claimed(new_job(7))
    async with queue.unchanged():
        assert await queue.expire() == []


async def test_an_expiry_spends_the_attempt_and_names_the_worker(queue):
    (token,) = await queue.claimed(new_job(7))
    await queue.let_run_out(token)
    await queue.news()
    (row,) = await queue.expire()
    assert row == Expired(token.job_id, token.lease_seq, due_in=5.0)
    job = await queue.job(token.job_id)
    assert (job.status, job.attempt_count, job.error_message) == ("Pending", 1, STOPPED)
    assert (job.run_at - job.updated_at).total_seconds() == 5
    assert await queue.news() == [Event("Failed", 7, token.job_id, 1, STOPPED, job.run_at)]


async def test_another_worker_gets_an_expired_job_with_its_attempts_counted(queue):
    (old,) = await queue.claimed(new_job(7))
    await queue.expired(old)
    await queue.make_due(old.job_id)
    (new,) = await queue.claim()
    assert new.job_id == old.job_id
    assert new.lease_seq > old.lease_seq
    assert (await queue.job(new.job_id)).attempt_count == 2
    assert await queue.complete(old, new) == [STALE, OK]


async def test_a_job_that_kills_every_worker_is_dead_when_its_attempts_are_spent(queue):
    [job_id] = await queue.enqueued(new_job(7, max_attempts=3))
    for _ in range(3):
        await queue.make_due(job_id)
        await queue.expired(*await queue.claim())
    job = await queue.job(job_id)
    assert (job.status, job.attempt_count, job.error_message) == ("Failed", 3, STOPPED)
    assert (await queue.news())[-1] == Event("Failed", 7, job_id, 3, STOPPED, None)
    thumbnail = await queue.thumbnail(7)
    assert (thumbnail.status, thumbnail.error_message) == ("Failed", STOPPED)


async def test_the_lease_of_a_worker_nobody_knows_expires_too(queue):
    await queue.enqueue(new_job(7))
    (job,) = await claim(queue.lane, ClaimRequest([12345], [0]))
    await queue.expire()
    message = (await queue.job(job.job_id)).error_message
    assert message == "Lease expired: worker ? stopped responding"


async def test_expiry_takes_no_more_than_its_limit_and_the_rest_next_time(queue):
    tokens = await queue.claimed(*[new_job(model) for model in range(1, 8)])
    await queue.let_run_out(*tokens)
    assert [len(await queue.expire(limit=3)) for _ in range(4)] == [3, 3, 1, 0]


async def test_expirers_at_once_take_each_lease_once(queue, lanes):
    tokens = await queue.claimed(*[new_job(model) for model in range(1, 201)])
    await queue.let_run_out(*tokens)
    await queue.news()
    taken = await at_once(*[expire(lane, 50, DELAYS, 1.0) for lane in lanes])
    taken += [await queue.expire(limit=200)]
    assert sorted(row.job_id for rows in taken for row in rows) == [token.job_id for token in tokens]
    assert await queue.value("count(*) FROM ready WHERE attempt = 1") == 200
    assert len(await queue.news()) == 200


async def test_ends_of_one_model_at_once_do_not_block_each_other(queue, lanes, no_second_try):
    for _ in range(10):
        tokens = await queue.claimed(*[new_job(1, file=file, force=True) for file in range(1, 11)])
        await queue.let_run_out(*tokens[:8])
        expiries = [expire(lane, 1, DELAYS, 1.0) for lane in lanes[1:7]]
        await at_once(*expiries, queue.on(lanes[8]).complete(*tokens[8:]), queue.on(lanes[9]).fail(*tokens[:2]))
        await queue.expire(limit=100)
        await queue.make_due(*[token.job_id for token in tokens])


async def test_an_expiry_passes_by_what_another_is_ending(queue):
    first, second = await queue.claimed(new_job(1), new_job(2))
    await queue.let_run_out(first, second)
    other = await asyncpg.connect(queue.database.dsn)
    try:
        async with other.transaction():
            await other.execute("SELECT FROM leases WHERE job_id = $1 FOR UPDATE", first.job_id)
            taken = await asyncio.wait_for(queue.expire(), timeout=30)
            assert [row.job_id for row in taken] == [second.job_id]
    finally:
        await other.close()
    assert [row.job_id for row in await queue.expire()] == [first.job_id]


async def test_expiry_passes_by_what_is_just_being_extended(queue, lanes):
    tokens = await queue.claimed(*[new_job(model) for model in range(1, 101)])
    await queue.let_run_out(*tokens)
    answers, expired = await at_once(extend(lanes[1], [(token, 60.0) for token in tokens]), queue.expire(limit=100))
    extended = {token.job_id for token, (verdict, _) in zip(tokens, answers, strict=True) if verdict is OK}
    assert extended | {row.job_id for row in expired} == {token.job_id for token in tokens}
    assert not extended & {row.job_id for row in expired}
