"""Credits that wait are offered to an enqueue, so that its jobs are claimed in the same commit."""

import asyncio

import pytest

from tests.engine.dispatcher.worker import Worker, lane_of
from tests.engine.parts import NEVER, WatchedLane, turns, until
from tests.support.postgres.queue_under_test import QueueUnderTest, new_job
from thumbq_server.engine.queue import Queue
from thumbq_server.storage.postgres.database import Database
from thumbq_server.storage.postgres.errors import Unavailable
from thumbq_server.storage.workers import register


@pytest.fixture
async def workers(database: Database, queue: Queue) -> list[Worker]:
    return [Worker(queue.dispatcher, await register(database, f"worker-{n}")) for n in range(2)]


@pytest.fixture
async def worker(queue: Queue, workers: list[Worker]) -> Worker:
    """It wants two jobs, and knows that there are none."""
    workers[0].ask(2)
    await until(lambda: workers[0].deliveries == [[]])
    return workers[0]


def enqueue_lane_of(queue: Queue) -> WatchedLane:
    """The one that is taken next."""
    lane = queue._enqueue_lanes[-1]
    assert isinstance(lane, WatchedLane)
    return lane


async def test_a_waiting_worker_gets_a_new_job_without_a_claim(queue: Queue, worker: Worker):
    claims = lane_of(queue.dispatcher).begun
    [answer] = await queue.enqueue([new_job(7)])
    assert worker.jobs == [answer.job_id]
    assert worker.claimant.credits == 1
    assert lane_of(queue.dispatcher).begun == claims


async def test_jobs_beyond_the_waiting_credits_are_claimed_later(queue: Queue, worker: Worker):
    answers = await queue.enqueue([new_job(model) for model in range(1, 6)])
    assert worker.jobs == [answer.job_id for answer in answers[:2]]
    worker.ask(3)
    await worker.has(5)


async def test_no_credit_is_reserved_while_a_claim_is_in_flight(
    queue: Queue, workers: list[Worker], others: QueueUnderTest
):
    """The workers whose credits it has would miss their share."""
    [older] = await others.enqueued(new_job(1))
    with lane_of(queue.dispatcher).held():
        workers[0].ask(1)
        await until(lambda: lane_of(queue.dispatcher).committed == 1)
        workers[1].ask(1)
        await queue.enqueue([new_job(2)])
        assert workers[1].jobs == []
    await workers[0].has(1)
    await workers[1].has(1)
    assert workers[0].jobs == [older]


async def test_no_credit_is_reserved_while_older_jobs_may_wait(queue: Queue, worker: Worker):
    assert worker.claimant.credits == 2
    queue.dispatcher.wake()
    assert queue.dispatcher.reserve(1).claimants == []


async def test_a_hint_that_comes_while_an_enqueue_has_the_credits_is_not_lost(
    queue: Queue, worker: Worker, others: QueueUnderTest
):
    queue.dispatcher._wake_up.poll = NEVER
    queue.dispatcher._wake_up.set()  # it sleeps again, by the new poll
    await turns()
    lane = enqueue_lane_of(queue)
    with lane.held():
        enqueue = asyncio.create_task(queue.enqueue([new_job(7), new_job(7)]))
        await until(lambda: lane.committed == 1)
        await others.enqueue(new_job(8))
        queue.dispatcher.wake()
    await enqueue
    await worker.has(2)


async def test_credits_that_found_no_new_job_come_back(queue: Queue, worker: Worker):
    await queue.enqueue([new_job(7)])
    assert worker.claimant.credits == 1
    await queue.enqueue([new_job(7)])
    assert worker.claimant.credits == 1
    await queue.enqueue([new_job(8)])
    await worker.has(2)


async def test_a_worker_that_left_meanwhile_gets_nothing_and_the_job_goes_back_unspent(
    queue: Queue, worker: Worker, workers: list[Worker], others: QueueUnderTest
):
    lane = enqueue_lane_of(queue)
    with lane.held():
        enqueue = asyncio.create_task(queue.enqueue([new_job(7)]))
        await until(lambda: lane.committed == 1)
        worker.leave()
    [answer] = await enqueue
    workers[1].ask(1)
    await workers[1].has(1)
    assert (await others.job(answer.job_id)).attempt_count == 1
    assert worker.jobs == []


async def test_jobs_claimed_by_an_enqueue_whose_answer_got_lost_are_given_out_again(
    queue: Queue, worker: Worker, others: QueueUnderTest
):
    enqueue_lane_of(queue).losses = 1
    with pytest.raises(Unavailable):
        await queue.enqueue([new_job(7)])
    await worker.has(1)
    assert worker.claimant.credits == 1
    job = await others.job(worker.jobs[0])
    assert (job.status, job.attempt_count) == ("Processing", 1)


async def test_a_draining_server_reserves_no_credit(queue: Queue, worker: Worker, others: QueueUnderTest):
    queue.dispatcher.pause()
    [answer] = await queue.enqueue([new_job(7)])
    assert worker.jobs == []
    assert await others.status(answer.job_id) == "Pending"
