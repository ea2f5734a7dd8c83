"""When the dispatcher makes a claim, and when it makes none."""

import asyncio
from typing import Any

import pytest

from tests.engine.dispatcher.worker import Worker, lane_of, requests
from tests.engine.parts import NEVER, POLICY, WatchedDatabase, ends_when_cancelled, running, turns, until
from tests.support.postgres.databases import around_pooler
from tests.support.postgres.queue_under_test import QueueUnderTest, failure, new_job
from thumbq_server.engine.dispatching.dispatcher import Dispatcher
from thumbq_server.engine.operator import Operator
from thumbq_server.engine.queue import Queue
from thumbq_server.engine.readers.views import Views
from thumbq_server.metrics.observer import Observer
from thumbq_server.storage.postgres.database import Database
from thumbq_server.storage.postgres.hints import JOBS
from thumbq_server.storage.postgres.notify import listen, pass_on


async def sleeping(dispatcher: Dispatcher, worker: Worker) -> None:
    """Let the worker want a job, and the dispatcher know of none."""
    worker.ask(1)
    await until(lambda: len(worker.deliveries) == 1)
    assert worker.deliveries == [[]]
    await turns()
    assert lane_of(dispatcher).begun == 1


async def test_an_enqueue_wakes(queue: Queue, worker: Worker):
    await sleeping(queue.dispatcher, worker)
    await queue.enqueue([new_job(7)])
    await worker.has(1)


async def test_a_release_wakes(queue: Queue, worker: Worker, others: QueueUnderTest):
    (token,) = await others.claimed(new_job(7))
    await sleeping(queue.dispatcher, worker)
    await queue.release([token])
    await worker.has(1)


async def test_a_retry_wakes_when_it_is_due(queue: Queue, worker: Worker, others: QueueUnderTest):
    (token,) = await others.claimed(new_job(7))
    await sleeping(queue.dispatcher, worker)
    await queue.fail([failure(token, retry_delay=0.05)])
    await worker.has(1)


async def test_a_delayed_job_wakes_when_it_is_due(queue: Queue, worker: Worker):
    await sleeping(queue.dispatcher, worker)
    await queue.enqueue([new_job(7, delay=0.05)])
    await worker.has(1)


async def test_jobs_of_many_delays_share_a_few_timers(queue: Queue, monkeypatch: pytest.MonkeyPatch):
    """Each of a million delayed jobs would keep a timer in memory, up to 30 days, and then cost a claim of its own."""
    loop = asyncio.get_running_loop()
    timers: list[float] = []
    call_at = loop.call_at

    def counted(when: float, *call: Any, **options: Any) -> asyncio.TimerHandle:
        timers.append(when)
        return call_at(when, *call, **options)

    monkeypatch.setattr(loop, "call_at", counted)
    soon = [new_job(model, delay=0.5 + model / 10_000) for model in range(1, 501)]
    late = [new_job(model, delay=3600.0 * model) for model in range(501, 701)]
    await queue.enqueue([*soon, *late])
    assert len(timers) < 50


async def test_an_operators_retry_wakes(queue: Queue, worker: Worker, others: QueueUnderTest):
    token = await others.job_in("Failed", new_job(7))
    await sleeping(queue.dispatcher, worker)
    operator = Operator(others.database, queue, Views(others.database), Observer())
    await operator.retry(token.job_id)
    await worker.has(1)


async def test_an_enqueue_on_another_server_wakes(queue: Queue, worker: Worker, others: QueueUnderTest):
    heard = asyncio.Event()

    def hint() -> None:
        heard.set()
        queue.dispatcher.wake()

    dsn = around_pooler(others.database.dsn)
    async with (
        Database(others.database.dsn) as database,
        running(listen(database, dsn, {JOBS: hint})),
        running(pass_on(others.database)),
    ):
        await asyncio.wait_for(heard.wait(), 30)  # once for whatever came before
        worker.ask(1)
        await until(lambda: worker.deliveries)
        await others.enqueue(new_job(7))
        await worker.has(1)


async def test_the_poll_finds_changes_without_a_hint(dispatcher: Dispatcher, worker: Worker, others: QueueUnderTest):
    dispatcher._wake_up.poll = 0.02
    await until(lambda: lane_of(dispatcher).begun == 0)
    worker.ask(1)
    await until(lambda: worker.deliveries)
    await others.enqueue(new_job(7))
    await worker.has(1)


async def test_the_poll_finds_changes_although_a_worker_asks_more_often_than_it_comes(
    dispatcher: Dispatcher, worker: Worker, others: QueueUnderTest
):
    await sleeping(dispatcher, worker)
    dispatcher._wake_up.poll = 0.2
    dispatcher._wake_up.set()  # it sleeps again, by the new poll
    [job_id] = await others.enqueued(new_job(7))  # without a hint to the dispatcher

    def has_jobs_or_asks_again() -> bool:
        worker.ask(1)
        return bool(worker.jobs)

    await until(has_jobs_or_asks_again)
    assert worker.jobs == [job_id]


async def test_nothing_is_claimed_while_nothing_is_known_to_be_due(
    dispatcher: Dispatcher, workers: list[Worker], others: QueueUnderTest
):
    lane = lane_of(dispatcher)
    await sleeping(dispatcher, workers[0])
    [job_id] = await others.enqueued(new_job(7))  # without a hint to the dispatcher
    for worker in workers:
        worker.ask(3)
    await turns()
    assert lane.begun == 1
    dispatcher.wake()
    await until(lambda: [job for worker in workers for job in worker.jobs] == [job_id])
    await turns()
    assert lane.begun == 2, "a claim that came back short is not repeated"


async def test_nothing_is_claimed_while_no_worker_waits(dispatcher: Dispatcher, worker: Worker, others: QueueUnderTest):
    lane = lane_of(dispatcher)
    await others.enqueue(*requests(3))
    dispatcher.wake()
    await turns()
    assert lane.begun == 0
    worker.ask(2)
    await worker.has(2)
    dispatcher.wake()
    await turns()
    assert lane.begun == 1
    worker.ask(1)
    await worker.has(3)
    assert lane.begun == 2


async def test_a_signal_wakes_nobody_while_no_worker_waits(dispatcher: Dispatcher, worker: Worker):
    """Each enqueue gives one, and most come while all workers have jobs."""
    await sleeping(dispatcher, worker)
    worker.leave()
    dispatcher.wake()
    assert not dispatcher._wake_up.pending


async def test_a_fresh_look_claims_though_nothing_is_known_to_be_due(
    dispatcher: Dispatcher, workers: list[Worker], others: QueueUnderTest
):
    await sleeping(dispatcher, workers[0])
    workers[0].leave()
    await others.enqueue(new_job(7))
    workers[1].ask(1, fresh_look=True)
    await workers[1].has(1)


async def test_a_hint_that_comes_while_a_claim_is_in_flight_is_not_lost(
    dispatcher: Dispatcher, worker: Worker, others: QueueUnderTest
):
    with lane_of(dispatcher).held():
        worker.ask(1)
        await until(lambda: lane_of(dispatcher).committed == 1)
        await others.enqueue(new_job(7))
        dispatcher.wake()
    await worker.has(1)
    assert lane_of(dispatcher).begun == 2


async def test_a_paused_dispatcher_starts_no_claim_but_hands_out_the_one_in_flight(
    dispatcher: Dispatcher, workers: list[Worker], others: QueueUnderTest
):
    await others.enqueue(*requests(3))
    with lane_of(dispatcher).held():
        workers[0].ask(1)
        await until(lambda: lane_of(dispatcher).committed == 1)
        dispatcher.pause()
        workers[1].ask(1, fresh_look=True)
    await workers[0].has(1)
    dispatcher.wake()
    await turns()
    assert lane_of(dispatcher).begun == 1


async def test_the_dispatcher_counts_the_claimed_jobs(watched: WatchedDatabase, others: QueueUnderTest):
    claims: list[int] = []
    queue = Queue(
        watched,
        policy=POLICY,
        unary_lease_seconds=600,
        on_claimed=lambda: claims.append(queue.dispatcher.jobs_claimed()),
    )
    queue.dispatcher._wake_up.poll = NEVER
    worker = Worker(queue.dispatcher, others.worker)
    async with running(queue.dispatcher.run()):
        await sleeping(queue.dispatcher, worker)
        assert not claims
        await queue.enqueue([new_job(7)])
        await worker.has(1)
        assert claims == [1]


@pytest.mark.parametrize("turns_between", range(5))
async def test_a_cancellation_right_after_a_wake_up_is_not_lost(watched: WatchedDatabase, turns_between: int):
    dispatcher = Queue(watched, policy=POLICY, unary_lease_seconds=600).dispatcher
    assert await ends_when_cancelled(dispatcher.run(), dispatcher._wake_up.set, turns_between)
