"""Waiting workers and ready jobs: who gets what, when it is looked for, and when it is not."""

import asyncio
import random
from functools import partial

import pytest

from tests.engine.conftest import NEVER, POLICY
from tests.engine.parts import WatchedDatabase, away, ends_when_cancelled, running, turns, until
from tests.engine.takers import Taker, lane_of
from tests.support.queue_under_test import QueueUnderTest, failure, new_job
from thumbq_server.domain.job import Retrial, RetryVerdict, Verdict
from thumbq_server.engine import dispatcher as dispatcher_module
from thumbq_server.engine.dispatcher import CLAIM_LIMIT, Dispatcher
from thumbq_server.engine.queue import Queue
from thumbq_server.storage import workers
from thumbq_server.storage.postgres.database import Database
from thumbq_server.storage.postgres.notify import JOBS, listen


@pytest.fixture
def dispatcher(queue: Queue) -> Dispatcher:
    return queue.dispatcher


@pytest.fixture
async def takers(database: Database, dispatcher: Dispatcher) -> list[Taker]:
    return [Taker(dispatcher, await workers.register(database, f"worker-{n}")) for n in range(3)]


@pytest.fixture
def taker(takers: list[Taker]) -> Taker:
    return takers[0]


def requests(count: int, *, first_model: int = 1):
    return [new_job(model) for model in range(first_model, first_model + count)]


def given(takers: list[Taker], count: int) -> bool:
    return sum(len(taker.jobs) for taker in takers) == count


# who gets what


async def test_a_worker_gets_as_many_jobs_as_it_asked_for(taker: Taker, others: QueueUnderTest):
    ids = await others.enqueued(*requests(5))
    taker.ask(3)
    await taker.has(3)
    assert taker.jobs == ids[:3]
    assert taker.claimant.credits == 0
    assert [await others.status(job_id) for job_id in ids[3:]] == ["Pending", "Pending"]
    taker.ask(1)
    await taker.has(4)


async def test_credits_are_taken_when_the_claim_starts_and_those_that_found_nothing_come_back(
    dispatcher: Dispatcher, taker: Taker, others: QueueUnderTest
):
    await others.enqueue(*requests(2))
    with lane_of(dispatcher).held():
        taker.ask(5)
        await until(lambda: lane_of(dispatcher).committed == 1)
        assert taker.claimant.credits == 0
        taker.ask(1)
        assert taker.claimant.credits == 1
    await taker.has(2)
    assert taker.claimant.credits == 4


async def test_credits_are_never_exceeded_and_every_job_is_given_once(
    queue: Queue, takers: list[Taker], others: QueueUnderTest
):
    """`Taker` itself asserts that it is given no more than it asked for."""
    dice = random.Random(1)
    ids: list[int] = []
    for step in range(60):
        dice.choice(takers).ask(dice.randint(1, 8), fresh_look=dice.random() < 0.5)
        new = requests(dice.randint(1, 8), first_model=1 + step * 10)
        if dice.random() < 0.5:
            ids += [answer.job_id for answer in await queue.enqueue(new)]
        else:
            ids += await others.enqueued(*new)
            queue.dispatcher.wake()
    for taker in takers:
        taker.ask(len(ids))
    await until(lambda: sum(len(taker.jobs) for taker in takers) >= len(ids))
    assert sorted(job_id for taker in takers for job_id in taker.jobs) == sorted(ids)
    await until(lambda: all(taker.claimant.credits == taker.wanted for taker in takers))


async def test_scarce_jobs_are_shared_evenly(takers: list[Taker], others: QueueUnderTest):
    ids = await others.enqueued(*requests(6))
    for taker, count in zip(takers, (100, 4, 2), strict=True):
        taker.ask(count)
    for taker in takers:
        await taker.has(2)
    assert [taker.jobs for taker in takers] == [[ids[0], ids[3]], [ids[1], ids[4]], [ids[2], ids[5]]]


async def test_what_a_worker_cannot_take_goes_to_the_others(takers: list[Taker], others: QueueUnderTest):
    await others.enqueue(*requests(9))
    for taker, count in zip(takers, (100, 1, 2), strict=True):
        taker.ask(count)
    for taker, count in zip(takers, (6, 1, 2), strict=True):
        await taker.has(count)


async def test_single_jobs_go_round(queue: Queue, takers: list[Taker]):
    for taker in takers:
        taker.ask(100)
    order = []
    for model in range(1, 10):
        await queue.enqueue([new_job(model)])
        await until(partial(given, takers, model))
        order.append([len(taker.jobs) for taker in takers])
    assert [max(counts) - min(counts) for counts in order] == [1, 1, 0] * 3


async def test_a_worker_that_asks_often_is_not_served_more_often(queue: Queue, takers: list[Taker]):
    busy, patient, _ = takers
    busy.ask(1)
    patient.ask(2)
    for model in range(1, 5):
        await queue.enqueue([new_job(model)])
        await until(partial(given, [busy, patient], model))
        if not busy.wanted:
            busy.ask(1)
    assert (len(busy.jobs), len(patient.jobs)) == (2, 2)


async def test_a_claim_is_bounded_and_the_next_is_under_way_while_it_is_handed_out(
    dispatcher: Dispatcher, taker: Taker, others: QueueUnderTest
):
    await others.enqueue(*requests(CLAIM_LIMIT + 200))
    lane = lane_of(dispatcher)
    deliver, begun = taker.claimant.deliver, []

    def delivered(rows):
        begun.append(lane.begun)
        deliver(rows)

    taker.claimant.deliver = delivered
    taker.ask(CLAIM_LIMIT + 200)
    await taker.has(CLAIM_LIMIT + 200)
    assert [len(rows) for rows in taker.deliveries] == [CLAIM_LIMIT, 200]
    assert begun == [2, 2]


async def test_a_worker_that_wants_little_has_its_share_of_a_bounded_claim(
    monkeypatch: pytest.MonkeyPatch, dispatcher: Dispatcher, takers: list[Taker], others: QueueUnderTest
):
    monkeypatch.setattr(dispatcher_module, "CLAIM_LIMIT", 10)
    await others.enqueue(*requests(10))
    takers[0].ask(100)
    takers[1].ask(3)
    await takers[1].has(3)
    await takers[0].has(7)


async def test_who_left_gets_nothing_and_what_was_claimed_for_it_goes_back_unspent(
    dispatcher: Dispatcher, takers: list[Taker], others: QueueUnderTest
):
    leaver, stayer, _ = takers
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


async def test_what_nobody_else_wants_waits_unspent(queue: Queue, taker: Taker, others: QueueUnderTest):
    [job_id] = await others.enqueued(new_job(7))
    with lane_of(queue.dispatcher).held():
        taker.ask(1)
        await until(lambda: lane_of(queue.dispatcher).committed == 1)
        assert await others.status(job_id) == "Processing"
        taker.leave()
    await until(lambda: queue._background)
    await queue.drained()
    job = await others.job(job_id)
    assert (job.status, job.attempt_count, job.lease_seq) == ("Pending", 0, 1)


async def test_who_left_while_it_waited_is_forgotten(queue: Queue, takers: list[Taker]):
    takers[0].ask(5)
    takers[0].leave()
    takers[1].ask(1)
    await queue.enqueue([new_job(7)])
    await takers[1].has(1)
    assert takers[0].deliveries == []


# when it is looked for


async def sleeping(dispatcher: Dispatcher, taker: Taker) -> None:
    """The taker wants a job, and the dispatcher knows of none."""
    taker.ask(1)
    await until(lambda: len(taker.deliveries) == 1)
    assert taker.deliveries == [[]]
    await turns()
    assert lane_of(dispatcher).begun == 1


async def test_an_enqueue_wakes(queue: Queue, taker: Taker):
    await sleeping(queue.dispatcher, taker)
    await queue.enqueue([new_job(7)])
    await taker.has(1)


async def test_a_release_wakes(queue: Queue, taker: Taker, others: QueueUnderTest):
    (token,) = await others.claimed(new_job(7))
    await sleeping(queue.dispatcher, taker)
    await queue.release([token])
    await taker.has(1)


async def test_a_retry_wakes_when_it_is_due(queue: Queue, taker: Taker, others: QueueUnderTest):
    (token,) = await others.claimed(new_job(7))
    await sleeping(queue.dispatcher, taker)
    await queue.fail([failure(token, retry_delay=0.05)])
    await taker.has(1)


async def test_a_delayed_job_wakes_when_it_is_due(queue: Queue, taker: Taker):
    await sleeping(queue.dispatcher, taker)
    await queue.enqueue([new_job(7, delay=0.05)])
    await taker.has(1)


async def test_an_operators_retry_wakes(queue: Queue, taker: Taker, others: QueueUnderTest):
    token = await others.job_in("Failed", new_job(7))
    await sleeping(queue.dispatcher, taker)
    assert await queue.retry([token.job_id]) == [Retrial(token.job_id, RetryVerdict.RETRIED)]
    await taker.has(1)


async def test_an_enqueue_on_another_server_wakes(queue: Queue, taker: Taker, others: QueueUnderTest):
    heard = asyncio.Event()

    def hint() -> None:
        heard.set()
        queue.dispatcher.wake()

    async with running(listen(others.database.dsn, {JOBS: hint})):
        await asyncio.wait_for(heard.wait(), 10)  # once for whatever came before
        taker.ask(1)
        await until(lambda: taker.deliveries == [[]])
        await others.enqueue(new_job(7))
        await taker.has(1)


async def test_the_poll_finds_what_no_hint_told_of(dispatcher: Dispatcher, taker: Taker, others: QueueUnderTest):
    dispatcher._poll = 0.02
    await until(lambda: lane_of(dispatcher).begun == 0)
    taker.ask(1)
    await until(lambda: taker.deliveries == [[]])
    await others.enqueue(new_job(7))
    await taker.has(1)


async def test_nothing_is_claimed_while_nothing_is_known_to_be_due(
    dispatcher: Dispatcher, takers: list[Taker], others: QueueUnderTest
):
    lane = lane_of(dispatcher)
    await sleeping(dispatcher, takers[0])
    [job_id] = await others.enqueued(new_job(7))  # of which the dispatcher is not told
    for taker in takers:
        taker.ask(3)
    await turns()
    assert lane.begun == 1
    dispatcher.wake()
    await until(lambda: [job for taker in takers for job in taker.jobs] == [job_id])
    await turns()
    assert lane.begun == 2, "a claim that came back short is not repeated"


async def test_nothing_is_claimed_while_nobody_waits(dispatcher: Dispatcher, taker: Taker, others: QueueUnderTest):
    lane = lane_of(dispatcher)
    await others.enqueue(*requests(3))
    dispatcher.wake()
    await turns()
    assert lane.begun == 0
    taker.ask(2)
    await taker.has(2)
    dispatcher.wake()
    await turns()
    assert lane.begun == 1
    taker.ask(1)
    await taker.has(3)
    assert lane.begun == 2


async def test_a_fresh_look_claims_though_nothing_is_known_to_be_due(
    dispatcher: Dispatcher, takers: list[Taker], others: QueueUnderTest
):
    await sleeping(dispatcher, takers[0])
    takers[0].leave()
    await others.enqueue(new_job(7))
    takers[1].ask(1, fresh_look=True)
    await takers[1].has(1)


async def test_a_hint_that_comes_while_a_claim_is_in_flight_is_not_lost(
    dispatcher: Dispatcher, taker: Taker, others: QueueUnderTest
):
    with lane_of(dispatcher).held():
        taker.ask(1)
        await until(lambda: lane_of(dispatcher).committed == 1)
        await others.enqueue(new_job(7))
        dispatcher.wake()
    await taker.has(1)
    assert lane_of(dispatcher).begun == 2


async def test_a_paused_dispatcher_starts_no_claim_but_hands_out_the_one_in_flight(
    dispatcher: Dispatcher, takers: list[Taker], others: QueueUnderTest
):
    await others.enqueue(*requests(3))
    with lane_of(dispatcher).held():
        takers[0].ask(1)
        await until(lambda: lane_of(dispatcher).committed == 1)
        dispatcher.pause()
        takers[1].ask(1, fresh_look=True)
    await takers[0].has(1)
    dispatcher.wake()
    await turns()
    assert lane_of(dispatcher).begun == 1


async def test_it_says_how_many_jobs_were_claimed(watched: WatchedDatabase, others: QueueUnderTest):
    claims: list[int] = []
    queue = Queue(watched, policy=POLICY, unary_lease_seconds=600, claimed=claims.append)
    queue.dispatcher._poll = NEVER
    taker = Taker(queue.dispatcher, others.worker)
    async with running(queue.dispatcher.run()):
        await sleeping(queue.dispatcher, taker)
        assert not claims
        await queue.enqueue([new_job(7)])
        await taker.has(1)
        assert claims == [1]


@pytest.mark.parametrize("turns_between", range(5))
async def test_it_ends_when_it_is_cancelled_right_after_it_was_woken(watched: WatchedDatabase, turns_between: int):
    dispatcher = Queue(watched, policy=POLICY, unary_lease_seconds=600).dispatcher
    assert await ends_when_cancelled(dispatcher.run(), dispatcher.wake, turns_between)


# when PostgreSQL is away


async def test_claims_pause_while_postgresql_is_away_and_go_on_with_all_credits(
    monkeypatch: pytest.MonkeyPatch, postgres: str, database_url: str
):
    monkeypatch.setattr(dispatcher_module, "_RETRY_SECONDS", 0.05)
    async with WatchedDatabase(database_url) as database:
        queue = Queue(database, policy=POLICY, unary_lease_seconds=600)
        taker = Taker(queue.dispatcher, await workers.register(database, "worker-1"))
        async with running(queue.dispatcher.run()):
            taker.ask(2)
            await until(lambda: taker.deliveries == [[]])
            async with away(postgres, database_url):
                queue.dispatcher.wake()
                await until(lambda: len(taker.absences) >= 3)
                assert lane_of(queue.dispatcher).begun <= len(taker.absences) + 2, "it does not hammer"
            await queue.enqueue([new_job(model) for model in (1, 2, 3)])
            await taker.has(2)
            await turns()
            assert taker.claimant.credits == 0


async def test_what_a_claim_took_whose_answer_got_lost_is_given_back_before_the_next(
    monkeypatch: pytest.MonkeyPatch, dispatcher: Dispatcher, takers: list[Taker], others: QueueUnderTest
):
    monkeypatch.setattr(dispatcher_module, "_RETRY_SECONDS", 0.01)
    ids = await others.enqueued(*requests(3))
    lane_of(dispatcher).losses = 1
    takers[0].ask(2)
    takers[1].ask(1)
    await until(lambda: sum(len(taker.jobs) for taker in takers) == 3)
    assert sorted(takers[0].jobs + takers[1].jobs) == ids
    assert [len(taker.absences) for taker in takers] == [1, 1, 0]
    assert [(await others.job(job_id)).attempt_count for job_id in ids] == [1, 1, 1]


async def test_what_was_claimed_for_others_is_not_touched_by_that(
    monkeypatch: pytest.MonkeyPatch, dispatcher: Dispatcher, taker: Taker, others: QueueUnderTest
):
    monkeypatch.setattr(dispatcher_module, "_RETRY_SECONDS", 0.01)
    (held,) = await others.claimed(new_job(1))
    await others.enqueue(*requests(2, first_model=2))
    taker.ask(1)
    await taker.has(1)
    lane_of(dispatcher).losses = 2
    taker.ask(1)
    await taker.has(2)
    assert await others.extend(held, *[job.token for [job] in taker.deliveries]) == [Verdict.OK] * 3
