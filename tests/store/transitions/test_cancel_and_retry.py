"""What an operator does, while others do something else with the same jobs."""

import pytest

from tests.support.conditions import locked, meddled, until_blocked
from tests.support.postgres.queue_under_test import Event, failure, new_job
from thumbq_server.domain.job import CancelVerdict, Retrial, RetryVerdict, Token
from thumbq_server.storage.transitions.cancel import cancel
from thumbq_server.storage.transitions.retry import retry
from thumbq_server.storage.transitions.revivals import RESTART
from thumbq_server.storage.transitions.verdicts import STATES


@pytest.mark.parametrize("shown", ["None", "Ready"])
@pytest.mark.parametrize("ends", ["Ready", "Failed"])
async def test_a_cancel_announces_only_what_its_model_still_shows(queue, lanes, shown, ends):
    """The render of a model's older file ends while its newest one is cancelled."""
    if shown == "Ready":
        await queue.complete(*await queue.claimed(new_job(7, file=1)))
    (token,) = await queue.claimed(new_job(7, file=2))
    [job_id] = await queue.enqueued(new_job(7, file=3))
    await queue.news()
    other = queue.on(lanes[1])
    report = other.complete(token) if ends == "Ready" else other.fail(failure(token, retryable=False))
    async with (
        locked(queue.database, "queue_head") as head,
        until_blocked(queue, report),
        until_blocked(queue, cancel(lanes[2], [job_id]), count=2),
    ):
        await head.execute("COMMIT")
    message = "boom" if ends == "Failed" else None
    assert await queue.news() == [Event(ends, 7, token.job_id, 1, message), Event(ends, 7, job_id, 0, message)]


async def test_a_job_that_is_retried_right_after_it_was_cancelled_is_not_cancelled_again(queue):
    [job_id] = await queue.enqueued(new_job(7))

    async def retry_it():
        assert await retry(queue.lane, [job_id]) == [Retrial(job_id, RetryVerdict.RETRIED)]

    async with meddled(queue.database, STATES, retry_it) as lane:
        cancelled = await cancel(lane, [job_id])
    assert [job.lease for job in cancelled] == [Token(job_id, 0)]
    assert await queue.status(job_id) == "Pending"


async def test_a_retry_looks_again_when_the_job_became_the_newest_request_meanwhile(queue, lanes):
    await queue.complete(*await queue.claimed(new_job(7, file=1)))
    await queue.enqueue(new_job(7, file=2))
    [job_id] = [row["id"] for row in await queue.sql("SELECT id FROM job_states WHERE status = 'Completed'")]
    async with (
        locked(queue.database, "jobs") as rows,
        until_blocked(queue, queue.on(lanes[1]).enqueue(new_job(7, file=1))),
        until_blocked(queue, retry(lanes[2], [job_id]), count=2) as retrying,
    ):
        await rows.execute("COMMIT")
    assert await retrying == [Retrial(job_id, RetryVerdict.RETRIED)]
    assert await queue.status(job_id) == "Pending"


async def test_a_retry_looks_again_when_the_job_was_claimed_and_given_back_meanwhile(queue):
    job_id = (await queue.job_in("Waiting", new_job(7))).job_id
    await queue.make_due(job_id)

    async def claim_and_give_back():
        await queue.release(*await queue.claim())

    async with meddled(queue.database, RESTART, claim_and_give_back) as lane:
        assert await retry(lane, [job_id]) == [Retrial(job_id, RetryVerdict.RETRIED)]
    assert await queue.status(job_id) == "Pending"
    assert [token.job_id for token in await queue.claim()] == [job_id]


async def test_a_cancel_waits_for_a_change_of_its_job_and_then_cancels_it(queue, lanes):
    """One job is Pending and one Processing, and something else happens to both at that moment."""
    (leased,) = await queue.claimed(new_job(1))
    [ready] = await queue.enqueued(new_job(2))
    async with locked(queue.database, "leases") as rows:
        await rows.execute("UPDATE leases SET expires_at = now()")
        async with until_blocked(queue, cancel(lanes[1], [leased.job_id, ready])) as cancelling:
            await rows.execute("COMMIT")
    assert {job.job_id for job in await cancelling} == {leased.job_id, ready}


async def test_a_cancel_answers_for_each_job(queue):
    done = await queue.job_in("Completed", new_job(1))
    gone = await queue.job_in("Cancelled", new_job(2))
    held = await queue.job_in("Processing", new_job(3))
    waiting = await queue.job_in("Pending", new_job(4))
    job_ids = [held.job_id, done.job_id, 999_999_999, gone.job_id, waiting.job_id]
    answers = await cancel(queue.lane, job_ids)
    assert [answer.job_id for answer in answers] == job_ids
    assert [answer.verdict for answer in answers] == [
        CancelVerdict.CANCELLED,
        CancelVerdict.ALREADY_ENDED,
        CancelVerdict.NOT_FOUND,
        CancelVerdict.ALREADY_CANCELLED,
        CancelVerdict.CANCELLED,
    ]
    assert [(answer.session, answer.lease) for answer in answers[:2]] == [(queue.worker, held), (None, None)]


async def test_a_retry_answers_for_each_job(queue):
    held = await queue.job_in("Processing", new_job(1))
    dead = await queue.job_in("Failed", new_job(2))
    waiting = await queue.job_in("Waiting", new_job(3))
    fresh = await queue.job_in("Pending", new_job(4))
    job_ids = [fresh.job_id, waiting.job_id, 999_999_999, dead.job_id, held.job_id]
    assert await retry(queue.lane, job_ids) == [
        Retrial(fresh.job_id, RetryVerdict.ALREADY_PENDING),
        Retrial(waiting.job_id, RetryVerdict.RETRIED),
        Retrial(999_999_999, RetryVerdict.NOT_FOUND),
        Retrial(dead.job_id, RetryVerdict.RETRIED),
        Retrial(held.job_id, RetryVerdict.PROCESSING),
    ]
