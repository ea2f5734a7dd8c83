"""Credits that wait are offered to an enqueue, so that its jobs are claimed in the same commit."""

import asyncio

import pytest

from tests.engine.parts import WatchedLane, until
from tests.engine.takers import Taker, lane_of
from tests.support.queue_under_test import QueueUnderTest, new_job
from thumbq_server.engine.queue import Queue
from thumbq_server.storage import workers
from thumbq_server.storage.postgres.database import Database
from thumbq_server.storage.postgres.errors import Unavailable


@pytest.fixture
async def takers(database: Database, queue: Queue) -> list[Taker]:
    return [Taker(queue.dispatcher, await workers.register(database, f"worker-{n}")) for n in range(2)]


@pytest.fixture
async def taker(queue: Queue, takers: list[Taker]) -> Taker:
    """It wants two jobs, and knows that there are none."""
    takers[0].ask(2)
    await until(lambda: takers[0].deliveries == [[]])
    return takers[0]


def enqueue_lane_of(queue: Queue) -> WatchedLane:
    """The one that is taken next."""
    lane = queue._enqueue_lanes[-1]
    assert isinstance(lane, WatchedLane)
    return lane


async def test_a_waiting_worker_gets_a_new_job_without_a_claim(queue: Queue, taker: Taker):
    claims = lane_of(queue.dispatcher).begun
    [answer] = await queue.enqueue([new_job(7)])
    assert taker.jobs == [answer.job_id]
    assert taker.claimant.credits == 1
    assert lane_of(queue.dispatcher).begun == claims


async def test_what_nobody_waits_for_is_claimed_later(queue: Queue, taker: Taker):
    answers = await queue.enqueue([new_job(model) for model in range(1, 6)])
    assert taker.jobs == [answer.job_id for answer in answers[:2]]
    taker.ask(3)
    await taker.has(5)


async def test_nothing_is_offered_while_a_claim_is_in_flight(queue: Queue, takers: list[Taker], others: QueueUnderTest):
    """The workers whose credits it has would miss their share."""
    [older] = await others.enqueued(new_job(1))
    with lane_of(queue.dispatcher).held():
        takers[0].ask(1)
        await until(lambda: lane_of(queue.dispatcher).committed == 1)
        takers[1].ask(1)
        await queue.enqueue([new_job(2)])
        assert takers[1].jobs == []
    await takers[0].has(1)
    await takers[1].has(1)
    assert takers[0].jobs == [older]


async def test_nothing_is_offered_while_older_jobs_may_wait(queue: Queue, taker: Taker):
    assert taker.claimant.credits == 2
    queue.dispatcher.wake()
    assert queue.dispatcher.offer(1).slots == []


async def test_credits_that_found_no_new_job_come_back(queue: Queue, taker: Taker):
    await queue.enqueue([new_job(7)])
    assert taker.claimant.credits == 1
    await queue.enqueue([new_job(7)])
    assert taker.claimant.credits == 1
    await queue.enqueue([new_job(8)])
    await taker.has(2)


async def test_a_worker_that_left_meanwhile_gets_nothing_and_the_job_goes_back_unspent(
    queue: Queue, taker: Taker, takers: list[Taker], others: QueueUnderTest
):
    lane = enqueue_lane_of(queue)
    with lane.held():
        enqueue = asyncio.create_task(queue.enqueue([new_job(7)]))
        await until(lambda: lane.committed == 1)
        taker.leave()
    [answer] = await enqueue
    takers[1].ask(1)
    await takers[1].has(1)
    assert (await others.job(answer.job_id)).attempt_count == 1
    assert taker.jobs == []


async def test_what_an_enqueue_claimed_whose_answer_got_lost_is_given_out_once_more(
    queue: Queue, taker: Taker, others: QueueUnderTest
):
    enqueue_lane_of(queue).losses = 1
    with pytest.raises(Unavailable):
        await queue.enqueue([new_job(7)])
    await taker.has(1)
    assert taker.claimant.credits == 1
    job = await others.job(taker.jobs[0])
    assert (job.status, job.attempt_count, job.lease_seq) == ("Processing", 1, 2)


async def test_a_server_that_drains_offers_nothing(queue: Queue, taker: Taker, others: QueueUnderTest):
    queue.dispatcher.pause()
    [answer] = await queue.enqueue([new_job(7)])
    assert taker.jobs == []
    assert await others.status(answer.job_id) == "Pending"
