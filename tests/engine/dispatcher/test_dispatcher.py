"""The match of waiting workers and ready jobs: the shares of the workers."""

import random
from functools import partial

import pytest

from tests.engine.dispatcher.worker import Worker, found_nothing, given, lane_of, requests
from tests.engine.parts import until
from tests.support.postgres.queue_under_test import QueueUnderTest, new_job
from thumbq_server.engine.dispatching import dispatcher as dispatcher_module
from thumbq_server.engine.dispatching.dispatcher import CLAIM_LIMIT, Dispatcher
from thumbq_server.engine.queue import Queue


async def test_a_worker_gets_as_many_jobs_as_it_asked_for(worker: Worker, others: QueueUnderTest):
    ids = await others.enqueued(*requests(5))
    worker.ask(3)
    await worker.has(3)
    assert worker.jobs == ids[:3]
    assert worker.claimant.credits == 0
    assert [await others.status(job_id) for job_id in ids[3:]] == ["Pending", "Pending"]
    worker.ask(1)
    await worker.has(4)


async def test_credits_are_taken_when_the_claim_starts_and_those_that_found_nothing_come_back(
    dispatcher: Dispatcher, worker: Worker, others: QueueUnderTest
):
    await others.enqueue(*requests(2))
    with lane_of(dispatcher).held():
        worker.ask(5)
        await until(lambda: lane_of(dispatcher).committed == 1)
        assert worker.claimant.credits == 0
        worker.ask(1)
        assert worker.claimant.credits == 1
    await worker.has(2)
    assert worker.claimant.credits == 4


async def test_credits_are_never_exceeded_and_every_job_is_given_once(
    queue: Queue, workers: list[Worker], others: QueueUnderTest
):
    """`Worker` itself asserts that it is given no more than it asked for."""
    dice = random.Random(1)
    ids: list[int] = []
    for step in range(60):
        dice.choice(workers).ask(dice.randint(1, 8), fresh_look=dice.random() < 0.5)
        new = requests(dice.randint(1, 8), first_model=1 + step * 10)
        if dice.random() < 0.5:
            ids += [answer.job_id for answer in await queue.enqueue(new)]
        else:
            ids += await others.enqueued(*new)
            queue.dispatcher.wake()
    for worker in workers:
        worker.ask(len(ids))
    await until(lambda: sum(len(worker.jobs) for worker in workers) >= len(ids))
    assert sorted(job_id for worker in workers for job_id in worker.jobs) == sorted(ids)
    await until(lambda: all(worker.claimant.credits == worker.wanted for worker in workers))


async def test_scarce_jobs_are_shared_evenly(workers: list[Worker], others: QueueUnderTest):
    ids = await others.enqueued(*requests(6))
    for worker, count in zip(workers, (100, 4, 2), strict=True):
        worker.ask(count)
    for worker in workers:
        await worker.has(2)
    assert [worker.jobs for worker in workers] == [[ids[0], ids[3]], [ids[1], ids[4]], [ids[2], ids[5]]]


async def test_jobs_that_a_worker_cannot_take_go_to_the_others(workers: list[Worker], others: QueueUnderTest):
    await others.enqueue(*requests(9))
    for worker, count in zip(workers, (100, 1, 2), strict=True):
        worker.ask(count)
    for worker, count in zip(workers, (6, 1, 2), strict=True):
        await worker.has(count)


async def test_single_jobs_go_round(queue: Queue, workers: list[Worker]):
    for worker in workers:
        worker.ask(100)
    await found_nothing(*workers)
    order = []
    for model in range(1, 10):
        await queue.enqueue([new_job(model)])
        await until(partial(given, workers, model))
        order.append([len(worker.jobs) for worker in workers])
    assert [max(counts) - min(counts) for counts in order] == [1, 1, 0] * 3


async def test_a_worker_that_asks_often_is_not_served_more_often(queue: Queue, workers: list[Worker]):
    busy, patient, _ = workers
    busy.ask(1)
    patient.ask(2)
    await found_nothing(busy, patient)
    for model in range(1, 5):
        await queue.enqueue([new_job(model)])
        await until(partial(given, [busy, patient], model))
        if not busy.wanted:
            busy.ask(1)
    assert (len(busy.jobs), len(patient.jobs)) == (2, 2)


async def test_a_claim_is_bounded_and_the_next_is_under_way_while_it_is_handed_out(
    dispatcher: Dispatcher, worker: Worker, others: QueueUnderTest
):
    await others.enqueue(*requests(CLAIM_LIMIT + 200))
    lane = lane_of(dispatcher)
    deliver, begun = worker.claimant.deliver, []

    def delivered(rows):
        begun.append(lane.begun)
        deliver(rows)

    worker.claimant.deliver = delivered
    worker.ask(CLAIM_LIMIT + 200)
    await worker.has(CLAIM_LIMIT + 200)
    assert [len(rows) for rows in worker.deliveries] == [CLAIM_LIMIT, 200]
    assert begun == [2, 2]


async def test_a_worker_that_wants_little_has_its_share_of_a_bounded_claim(
    monkeypatch: pytest.MonkeyPatch, dispatcher: Dispatcher, workers: list[Worker], others: QueueUnderTest
):
    monkeypatch.setattr(dispatcher_module, "CLAIM_LIMIT", 10)
    await others.enqueue(*requests(10))
    workers[0].ask(100)
    workers[1].ask(3)
    await workers[1].has(3)
    await workers[0].has(7)


async def test_a_worker_that_left_gets_nothing_and_its_jobs_go_back_unspent(
    dispatcher: Dispatcher, workers: list[Worker], others: QueueUnderTest
):
    leaver, stayer, _ = workers
    ids = await others.enqueued(*requests(4))
    with lane_of(dispatcher).held():
        leaver.ask(2)
        stayer.ask(2)
        await until(lambda: lane_of(dispatcher).committed == 1)
        leaver.leave()
        stayer.ask(2)
    await stayer.has(4)
    assert leaver.deliveries == []
    assert leaver.claimant.credits == 0
    assert sorted(stayer.jobs) == ids
    assert [(await others.job(job_id)).attempt_count for job_id in ids] == [1] * 4


async def test_a_job_that_no_other_worker_wants_waits_unspent(queue: Queue, worker: Worker, others: QueueUnderTest):
    [job_id] = await others.enqueued(new_job(7))
    with lane_of(queue.dispatcher).held():
        worker.ask(1)
        await until(lambda: lane_of(queue.dispatcher).committed == 1)
        assert await others.status(job_id) == "Processing"
        worker.leave()
    await until(lambda: queue._background)
    await queue.drained()
    job = await others.job(job_id)
    assert (job.status, job.attempt_count) == ("Pending", 0)
    assert job.lease_seq > 0


async def test_a_worker_that_left_while_it_waited_is_forgotten(queue: Queue, workers: list[Worker]):
    workers[0].ask(5)
    workers[0].leave()
    workers[1].ask(1)
    await queue.enqueue([new_job(7)])
    await workers[1].has(1)
    assert workers[0].deliveries == []
