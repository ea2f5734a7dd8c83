"""Claims while PostgreSQL is away, or while its answers get lost."""

from collections.abc import AsyncIterator

import pytest

from tests.engine.dispatcher.worker import Worker, lane_of, requests
from tests.engine.parts import NEVER, POLICY, WatchedDatabase, away, running, turns, until
from tests.support.postgres.queue_under_test import QueueUnderTest, new_job
from tests.support.waiting import eventually
from thumbq_server.domain.job import MODEL, Verdict
from thumbq_server.engine.dispatching import dispatcher as dispatcher_module
from thumbq_server.engine.dispatching.dispatcher import Dispatcher
from thumbq_server.engine.queue import Queue
from thumbq_server.storage.postgres.database import Database
from thumbq_server.storage.postgres.errors import Unavailable
from thumbq_server.storage.workers import register


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
                await until(lambda: len(worker.absences) >= 3, seconds=90)
                assert lane_of(queue.dispatcher).begun <= len(worker.absences) + 2, "it does not hammer"
            await queue.enqueue([new_job(model) for model in (1, 2, 3)])
            await worker.has(2)
            await turns()
            assert worker.claimant.credits == 0


async def test_claims_go_on_as_soon_as_any_part_has_reached_postgresql_again(
    monkeypatch: pytest.MonkeyPatch, postgres: str, database_url: str
):
    monkeypatch.setattr(dispatcher_module, "_RETRY_SECONDS", NEVER)
    async with Database(database_url) as database:
        queue = Queue(database, policy=POLICY, unary_lease_seconds=600)
        worker = Worker(queue.dispatcher, await register(database, "worker-1"))
        async with running(queue.dispatcher.run()):
            worker.ask(2)
            await until(lambda: worker.deliveries == [[]])
            async with away(postgres, database_url):
                queue.dispatcher.wake()
                await until(lambda: worker.absences)
            await queue.enqueue([new_job(model) for model in (1, 2)])
            await worker.has(2)


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


@pytest.fixture
async def queue_of_kinds(monkeypatch: pytest.MonkeyPatch, watched: WatchedDatabase) -> AsyncIterator[Queue]:
    """The verbs of one server with the dispatchers of all kinds, which try again soon."""
    monkeypatch.setattr(dispatcher_module, "_RETRY_SECONDS", 0.01)
    queue = Queue(watched, policy=POLICY, unary_lease_seconds=600)
    async with running(queue.dispatchers.run()):
        yield queue
    await queue.drained()


async def lose_the_answer(queue: Queue, *kinds: str) -> None:
    """Let a worker ask once, whose jobs are claimed and do not arrive."""
    with queue.dispatchers.of(kinds) as dispatcher:
        lane_of(dispatcher).losses = 1
    with pytest.raises(Unavailable, match="lost"):
        await queue.dequeue("js-1", 1, wait=0, kinds=kinds)


@pytest.mark.parametrize("kinds", [(), ("Sound",)], ids=["models", "another kind"])
@pytest.mark.parametrize("ending", [False, True], ids=["while the server runs", "while it goes away"])
async def test_jobs_of_a_claim_whose_answer_got_lost_are_given_back_though_nobody_asks_again(
    queue_of_kinds: Queue, others: QueueUnderTest, kinds: tuple[str, ...], ending: bool
):
    [job_id] = await others.enqueued(new_job(7, kind=kinds[0] if kinds else MODEL))
    await lose_the_answer(queue_of_kinds, *kinds)
    if ending:
        queue_of_kinds.dispatchers.pause()

    async def is_back() -> bool:
        job = await others.job(job_id)
        return (job.status, job.attempt_count) == ("Pending", 0)

    await eventually(is_back)


async def test_who_comes_before_they_are_given_back_gets_them(queue_of_kinds: Queue, others: QueueUnderTest):
    [job_id] = await others.enqueued(new_job(7, kind="Sound"))
    await lose_the_answer(queue_of_kinds, "Sound")
    [job] = await queue_of_kinds.dequeue("js-2", 1, wait=30, kinds=("Sound",))
    assert (job.job_id, (await others.job(job_id)).attempt_count) == (job_id, 1)
