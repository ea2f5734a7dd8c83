"""The match of waiting workers and ready jobs: the shares, when a claim is made, and when none."""

import asyncio
import random
from functools import partial

import pytest

from tests.engine.parts import NEVER, POLICY, WatchedDatabase, away, ends_when_cancelled, running, turns, until
from tests.engine.worker import Worker, lane_of
from tests.support.queue_under_test import QueueUnderTest, failure, new_job
from thumbq_server.domain.job import Verdict
from thumbq_server.engine import dispatcher as dispatcher_module
from thumbq_server.engine.dispatcher import CLAIM_LIMIT, Dispatcher
from thumbq_server.engine.operator import Operator
from thumbq_server.engine.queue import Queue
from thumbq_server.engine.readers.views import Views
from thumbq_server.storage.postgres.database import Database
from thumbq_server.storage.postgres.notify import JOBS, listen
from thumbq_server.storage.workers import register


@pytest.fixture
def dispatcher(queue: Queue) -> Dispatcher:
    return queue.dispatcher


@pytest.fixture
async def workers(database: Database, dispatcher: Dispatcher) -> list[Worker]:
    return [Worker(dispatcher, await register(database, f"worker-{n}")) for n in range(3)]


@pytest.fixture
def worker(workers: list[Worker]) -> Worker:
    return workers[0]


def requests(count: int, *, first_model: int = 1):
    return [new_job(model) for model in range(first_model, first_model + count)]


def given(workers: list[Worker], count: int) -> bool:
    return sum(len(worker.jobs) for worker in workers) == count


async def found_nothing(*workers: Worker) -> None:
    """Wait until a claim for all of them is over: no claim is in flight when the next job comes."""
    await until(lambda: all(worker.deliveries == [[]] for worker in workers))


# the shares


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
    assert (job.status, job.attempt_count, job.lease_seq) == ("Pending", 0, 1)


async def test_a_worker_that_left_while_it_waited_is_forgotten(queue: Queue, workers: list[Worker]):
    workers[0].ask(5)
    workers[0].leave()
    workers[1].ask(1)
    await queue.enqueue([new_job(7)])
    await workers[1].has(1)
    assert workers[0].deliveries == []


# when a claim is made


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


async def test_an_operators_retry_wakes(queue: Queue, worker: Worker, others: QueueUnderTest):
    token = await others.job_in("Failed", new_job(7))
    await sleeping(queue.dispatcher, worker)
    operator = Operator(others.database, queue, Views(others.database))
    assert (await operator.retry(token.job_id)).status == "Pending"
    await worker.has(1)


async def test_an_enqueue_on_another_server_wakes(queue: Queue, worker: Worker, others: QueueUnderTest):
    heard = asyncio.Event()

    def hint() -> None:
        heard.set()
        queue.dispatcher.wake()

    async with running(listen(others.database.dsn, {JOBS: hint})):
        await asyncio.wait_for(heard.wait(), 10)  # once for whatever came before
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
    assert await ends_when_cancelled(dispatcher.run(), dispatcher.wake, turns_between)


# when PostgreSQL is away


async def test_claims_pause_while_postgresql_is_away_and_go_on_with_all_credits(
    monkeypatch: pytest.MonkeyPatch, postgres: str, database_url: str
):
    monkeypatch.setattr(dispatcher_module, "_RETRY_SECONDS", 0.05)
    async with WatchedDatabase(database_url) as database:
        queue = Queue(database, policy=POLICY, unary_lease_seconds=600)
        worker = Worker(queue.dispatcher, await register(database, "worker-1"))
        async with running(queue.dispatcher.run()):
            worker.ask(2)
            await until(lambda: worker.deliveries == [[]])
            async with away(postgres, database_url):
                queue.dispatcher.wake()
                await until(lambda: len(worker.absences) >= 3)
                assert lane_of(queue.dispatcher).begun <= len(worker.absences) + 2, "it does not hammer"
            await queue.enqueue([new_job(model) for model in (1, 2, 3)])
            await worker.has(2)
            await turns()
            assert worker.claimant.credits == 0


async def test_jobs_of_a_claim_whose_answer_got_lost_are_given_back_before_the_next(
    monkeypatch: pytest.MonkeyPatch, dispatcher: Dispatcher, workers: list[Worker], others: QueueUnderTest
):
    monkeypatch.setattr(dispatcher_module, "_RETRY_SECONDS", 0.01)
    ids = await others.enqueued(*requests(3))
    lane_of(dispatcher).losses = 1
    workers[0].ask(2)
    workers[1].ask(1)
    await until(lambda: sum(len(worker.jobs) for worker in workers) == 3)
    assert sorted(workers[0].jobs + workers[1].jobs) == ids
    assert [len(worker.absences) for worker in workers] == [1, 1, 0]
    assert [(await others.job(job_id)).attempt_count for job_id in ids] == [1, 1, 1]


async def test_jobs_of_other_claims_are_not_touched_by_that(
    monkeypatch: pytest.MonkeyPatch, dispatcher: Dispatcher, worker: Worker, others: QueueUnderTest
):
    monkeypatch.setattr(dispatcher_module, "_RETRY_SECONDS", 0.01)
    (held,) = await others.claimed(new_job(1))
    await others.enqueue(*requests(2, first_model=2))
    worker.ask(1)
    await worker.has(1)
    lane_of(dispatcher).losses = 2
    worker.ask(1)
    await worker.has(2)
    assert await others.extend(held, *[job.token for [job] in worker.deliveries]) == [Verdict.OK] * 3
