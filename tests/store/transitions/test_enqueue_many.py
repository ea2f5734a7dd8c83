"""Many enqueues at once: twenty callers, and batches of every size."""

import pytest

from tests.support.conditions import at_once
from tests.support.postgres.queue_under_test import STATES, new_job
from thumbq_server.domain.job import Enqueued, EnqueueOutcome, Revival
from thumbq_server.storage.transitions.enqueue import enqueue
from thumbq_server.storage.transitions.revivals import REVIVE, renew

CREATED, EXISTING, RESET = EnqueueOutcome.CREATED, EnqueueOutcome.EXISTING, EnqueueOutcome.RESET


async def test_twenty_at_once_make_one_job_and_one_announcement(queue, lanes):
    answers = await at_once(*[enqueue(lane, [new_job(7)]) for lane in lanes])
    assert len({answer.job_id for [answer] in answers}) == 1
    assert sorted(answer.outcome.name for [answer] in answers) == ["CREATED"] + ["EXISTING"] * 19
    assert await queue.value("count(*) FROM jobs") == 1
    assert len(await queue.news()) == 1


@pytest.mark.parametrize("state", ["Waiting", "Completed", "Failed", "Cancelled"])
async def test_twenty_at_once_revive_a_job_once(queue, lanes, state):
    await queue.job_in(state, new_job(7))
    await queue.news()
    answers = await at_once(*[enqueue(lane, [new_job(7, force=True)]) for lane in lanes])
    assert sorted(answer.outcome.name for [answer] in answers) == ["EXISTING"] * 19 + ["RESET"]
    assert len(await queue.news()) == 1


@pytest.mark.parametrize(
    ("plan", "state"),
    [
        (Revival.RESET, "Completed"),
        (Revival.RESET, "Failed"),
        (Revival.RESTART, "Waiting"),
        (Revival.RERUN, "Processing"),
    ],
)
async def test_a_plan_for_a_job_that_has_moved_on_changes_nothing(queue, plan, state):
    """Between the look and the step the job went round, and stands in the same state again."""
    token = await queue.job_in("Waiting", new_job(7))
    before = await queue.job(token.job_id)
    await queue.enqueue(new_job(7, force=True))
    await queue.release(*await queue.claim())
    await queue.job_in(state, new_job(7))
    async with queue.unchanged():
        rows = await queue.sql(
            REVIVE[plan],
            *([token.job_id], [before.request_no], [token.lease_seq], [0], [3], [0.0], [before.run_at]),
            *([None], [None]),
        )
    assert rows == []


async def test_a_job_that_was_asked_for_meanwhile_is_not_renewed(queue):
    token = await queue.job_in("Waiting", new_job(7))
    before = await queue.job(token.job_id)
    await queue.enqueue(new_job(7, force=True))
    async with queue.unchanged():
        assert await renew(queue.lane, [(token.job_id, before.request_no)]) == set()


async def test_overlapping_batches_in_any_order_do_not_block_each_other(queue, lanes, no_second_try):
    requests = [new_job(model) for model in range(1, 201)]
    batches = [requests, requests[::-1], requests[50:150], requests[150:50:-1]] * 2
    answers = await at_once(*[enqueue(lane, batch) for lane, batch in zip(lanes, batches, strict=False)])
    assert sum(answer.outcome is CREATED for batch in answers for answer in batch) == 200
    assert len(await queue.news()) == 200


async def test_a_job_that_stands_twice_in_a_batch_is_created_once(queue):
    first, second, other = await queue.enqueue(new_job(7), new_job(7), new_job(8))
    assert (first.outcome, second.outcome, other.outcome) == (CREATED, EXISTING, CREATED)
    assert first.job_id == second.job_id != other.job_id
    assert len(await queue.news()) == 2


async def test_a_job_that_stands_twice_in_a_batch_is_reset_once(queue):
    token = await queue.job_in("Failed", new_job(7))
    await queue.news()
    assert await queue.enqueue(new_job(7), new_job(7)) == [
        Enqueued(token.job_id, RESET),
        Enqueued(token.job_id, EXISTING),
    ]
    assert len(await queue.news()) == 1


async def test_one_force_in_a_batch_is_enough(queue):
    token = await queue.job_in("Completed", new_job(7))
    answers = await queue.enqueue(new_job(7), new_job(7, force=True), new_job(7))
    assert RESET in {answer.outcome for answer in answers}
    assert await queue.status(token.job_id) == "Pending"


@pytest.mark.parametrize("state", [None, "Failed"])
async def test_of_those_that_stand_twice_in_a_batch_the_most_urgent_decides(queue, state):
    if state is not None:
        await queue.job_in(state, new_job(7))
    later, sooner = new_job(7, priority=3, delay=600), new_job(7, priority=5, delay=60, max_attempts=7)
    for answer in await queue.enqueue(later, sooner, later):
        job = await queue.job(answer.job_id)
        assert (job.priority, job.max_attempts) == (5, 7)
        assert (job.run_at - job.updated_at).total_seconds() == 60


async def test_answers_are_in_the_order_of_the_requests(queue):
    known = {model: (await queue.job_in(state, new_job(model))).job_id for model, state in enumerate(STATES, 1)}
    requests = [new_job(model) for model in (9, 6, 5, 4, 8, 3, 2, 1, 7, 9)]
    answers = await queue.enqueue(*requests)
    assert [answer.outcome for answer in answers] == [
        *(CREATED, EXISTING, RESET, RESET, CREATED, EXISTING, EXISTING, EXISTING, CREATED, EXISTING)
    ]
    for request, answer in zip(requests, answers, strict=True):
        assert answer.job_id == known.setdefault(request.model_id, answer.job_id)
        assert (await queue.job(answer.job_id)).model_id == request.model_id


async def test_ten_thousand_jobs_in_one_batch_are_one_commit(queue):
    requests = [new_job(model) for model in range(10_000, 0, -1)]
    answers = await queue.enqueue(*requests)
    assert {answer.outcome for answer in answers} == {CREATED}
    assert len({answer.job_id for answer in answers}) == 10_000
    assert await queue.value("count(*) FROM ready") == 10_000
    assert await queue.value("count(*) FROM notifications") == 1
    async with queue.unchanged():
        again = await queue.enqueue(*requests)
    assert again == [Enqueued(answer.job_id, EXISTING) for answer in answers]


async def test_an_empty_batch_is_nothing(queue):
    async with queue.unchanged():
        assert await queue.enqueue() == []
