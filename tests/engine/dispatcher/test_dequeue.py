"""Unary workers: they take what is there, or wait a while for the first job."""

import asyncio
from functools import partial

import pytest

from tests.engine.dispatcher.worker import lane_of
from tests.engine.parts import WatchedDatabase, away, running, turns, until
from tests.support.conditions import at_once
from tests.support.postgres.queue_under_test import QueueUnderTest, new_job
from thumbq_server.domain.retry import RetryPolicy
from thumbq_server.engine.dispatching import dispatcher as dispatcher_module
from thumbq_server.engine.queue import Queue
from thumbq_server.storage.postgres.errors import Unavailable


def ids_of(rows) -> list[int]:
    return [row.job_id for row in rows]


async def test_without_a_wait_an_empty_queue_answers_at_once(queue: Queue):
    assert await asyncio.wait_for(queue.dequeue("js-1", 5, wait=0), 30) == []
    assert lane_of(queue.dispatcher).begun == 1
    assert not queue.dispatcher._credits


async def test_a_dequeue_claims_up_to_its_number_even_without_a_hint(queue: Queue, others: QueueUnderTest):
    assert await queue.dequeue("js-1", 5, wait=0) == []
    ids = await others.enqueued(*[new_job(model) for model in range(1, 8)])
    rows = await queue.dequeue("js-1", 5, wait=0)
    assert ids_of(rows) == ids[:5]
    assert ids_of(await queue.dequeue("js-1", 5, wait=10)) == ids[5:], "a wait is for the first job only"
    job = await others.job(ids[0])
    assert (job.status, job.worker_id) == ("Processing", "js-1")


async def test_a_claim_that_may_wait_has_a_short_lease_until_its_worker_is_heard_of(
    queue: Queue, others: QueueUnderTest
):
    await others.enqueue(new_job(1))
    (job,) = await queue.dequeue("js-1", 1, wait=10)
    assert (job.expires_at - job.claimed_at).total_seconds() == 60


async def test_a_claim_without_a_wait_has_the_configured_lease_at_once(queue: Queue, others: QueueUnderTest):
    await others.enqueue(new_job(1))
    (job,) = await queue.dequeue("js-1", 1, wait=0)
    assert (job.expires_at - job.claimed_at).total_seconds() == 600


async def test_a_worker_is_registered_once(queue: Queue, watched: WatchedDatabase):
    await queue.dequeue("js-1", 1, wait=0)
    await queue.dequeue("js-1", 1, wait=0)
    assert len([sql for sql in watched.asked if "INTO workers" in sql]) == 1


async def test_a_long_poll_gets_the_job_that_arrives(queue: Queue, others: QueueUnderTest):
    polling = asyncio.create_task(queue.dequeue("js-1", 5, wait=30))
    await until(lambda: lane_of(queue.dispatcher).committed == 1)
    (answer,) = await queue.enqueue([new_job(7)])
    assert ids_of(await asyncio.wait_for(polling, 30)) == [answer.job_id]
    assert not queue.dispatcher._credits


async def test_one_job_goes_to_one_waiting_call(queue: Queue):
    polls = [asyncio.create_task(queue.dequeue(f"js-{n}", 5, wait=30)) for n in range(10)]
    await until(lambda: len(queue.dispatcher._credits) == 10)

    def answered(count: int) -> bool:
        return sum(poll.done() for poll in polls) == count

    for model in range(1, 11):
        await queue.enqueue([new_job(model)])
        await until(partial(answered, model))
    assert sorted(len(rows) for rows in await at_once(*[asyncio.wait_for(poll, 30) for poll in polls])) == [1] * 10


async def test_a_wait_that_runs_out_leaves_no_claimant_behind(queue: Queue, others: QueueUnderTest):
    assert await queue.dequeue("js-1", 5, wait=0.03) == []
    assert not queue.dispatcher._credits
    # A claim may be under way still, and get the job: it goes back.
    (answer,) = await queue.enqueue([new_job(7)])
    await unspent(queue, others, answer.job_id)


async def unspent(queue: Queue, others: QueueUnderTest, *job_ids: int) -> None:
    """Assert that the jobs were given back, without an attempt."""
    await until(lambda: lane_of(queue.dispatcher).begun == lane_of(queue.dispatcher).committed)
    await turns()
    await queue.drained()
    for job_id in job_ids:
        job = await others.job(job_id)
        assert (job.status, job.attempt_count) == ("Pending", 0)
    assert not queue.dispatcher._credits


async def test_jobs_claimed_when_the_wait_ran_out_go_back_unspent(queue: Queue, others: QueueUnderTest):
    ids = await others.enqueued(new_job(1), new_job(2))
    with lane_of(queue.dispatcher).held():
        assert await queue.dequeue("js-1", 5, wait=0.03) == []
        await until(lambda: lane_of(queue.dispatcher).committed == 1)
    await unspent(queue, others, *ids)


async def test_jobs_claimed_when_the_worker_hung_up_go_back_unspent(queue: Queue, others: QueueUnderTest):
    ids = await others.enqueued(new_job(1), new_job(2))
    with lane_of(queue.dispatcher).held():
        polling = asyncio.create_task(queue.dequeue("js-1", 5, wait=30))
        await until(lambda: lane_of(queue.dispatcher).committed == 1)
        polling.cancel()
        with pytest.raises(asyncio.CancelledError):
            await polling
    await unspent(queue, others, *ids)


@pytest.mark.parametrize("wait", [0, 30])
@pytest.mark.parametrize("turns_later", range(6))
async def test_a_worker_that_hangs_up_while_it_is_answered_gets_the_jobs_or_gives_them_back(
    queue: Queue, others: QueueUnderTest, turns_later: int, wait: float
):
    ids = await others.enqueued(new_job(1), new_job(2))
    handed_out = asyncio.Event()
    queue.dispatcher._on_claimed = handed_out.set
    answered = False

    async def hang_up() -> None:
        nonlocal answered
        await handed_out.wait()
        await turns(turns_later)
        answered = polling.done()
        polling.cancel()

    hanging_up = asyncio.create_task(hang_up())
    polling = asyncio.create_task(queue.dequeue("js-1", 2, wait=wait))
    await asyncio.wait([polling, hanging_up])
    assert polling.cancelled() is not answered
    if answered:
        assert ids_of(polling.result()) == ids
    else:
        await unspent(queue, others, *ids)


async def test_jobs_that_a_second_claim_brings_after_the_answer_go_back_unspent(
    monkeypatch: pytest.MonkeyPatch, queue: Queue, others: QueueUnderTest
):
    monkeypatch.setattr(dispatcher_module, "CLAIM_LIMIT", 2)
    ids = await others.enqueued(*[new_job(model) for model in range(1, 6)])
    assert ids_of(await queue.dequeue("js-1", 5, wait=30)) == ids[:2]
    await unspent(queue, others, *ids[2:])


async def test_a_call_that_wants_more_than_one_claim_is_for_gets_what_the_claim_found(
    monkeypatch: pytest.MonkeyPatch, queue: Queue, others: QueueUnderTest
):
    monkeypatch.setattr(dispatcher_module, "CLAIM_LIMIT", 2)
    ids = await others.enqueued(new_job(1))
    assert ids_of(await queue.dequeue("js-1", 3, wait=0)) == ids


async def test_while_postgresql_is_away_every_waiting_call_is_refused(
    monkeypatch: pytest.MonkeyPatch, postgres: str, database_url: str
):
    monkeypatch.setattr(dispatcher_module, "_RETRY_SECONDS", 0.05)
    async with WatchedDatabase(database_url) as database:
        queue = Queue(database, policy=RetryPolicy(), unary_lease_seconds=600)
        async with running(queue.dispatcher.run()):
            for n in range(3):
                assert await queue.dequeue(f"js-{n}", 1, wait=0) == []
            polls = [asyncio.create_task(queue.dequeue(f"js-{n}", 1, wait=30)) for n in range(3)]
            await until(lambda: len(queue.dispatcher._credits) == 3)
            async with away(postgres, database_url):
                queue.dispatcher.wake()
                for poll in polls:
                    with pytest.raises(Unavailable):
                        await asyncio.wait_for(poll, 30)
                with pytest.raises(Unavailable):
                    await queue.dequeue("js-1", 1, wait=0)
                with pytest.raises(Unavailable):
                    await queue.dequeue("a-new-one", 1, wait=0)
            await queue.enqueue([new_job(7)])
            assert len(await queue.dequeue("js-1", 1, wait=0)) == 1


async def test_when_the_server_goes_away_every_waiting_call_is_refused_at_once(queue: Queue):
    """They ask another server; otherwise they would wait for a claim that never comes."""
    with lane_of(queue.dispatcher).held():
        in_flight = asyncio.create_task(queue.dequeue("js-1", 1, wait=30))
        await until(lambda: lane_of(queue.dispatcher).committed == 1)
        waiting = asyncio.create_task(queue.dequeue("js-2", 1, wait=30))
        await until(lambda: len(queue.dispatcher._credits) == 1)
        queue.dispatcher.pause()
        with pytest.raises(Unavailable):
            await asyncio.wait_for(waiting, 30)
    for late in (in_flight, queue.dequeue("js-3", 1, wait=0)):
        with pytest.raises(Unavailable):
            await asyncio.wait_for(late, 30)


async def test_calls_that_wait_keep_no_other_call_from_its_answer(queue: Queue, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(dispatcher_module, "CLAIM_LIMIT", 3)
    polls = [asyncio.create_task(queue.dequeue(f"js-{n}", 1, wait=600)) for n in range(10)]
    await until(lambda: len(queue.dispatcher._credits) == 10)
    assert await asyncio.wait_for(queue.dequeue("js-in-a-hurry", 1, wait=0), 30) == []
    (answer,) = await queue.enqueue([new_job(7)])
    await until(lambda: any(poll.done() for poll in polls))
    assert [ids_of(poll.result()) for poll in polls if poll.done()] == [[answer.job_id]]
    for poll in polls:
        poll.cancel()
    await asyncio.wait(polls)
