"""What an enqueue does with a job that is new, alive or ended."""

import pytest

from tests.support.conditions import meddled
from tests.support.postgres.queue_under_test import Event, model_file, new_job, picture
from thumbq_server.domain.job import Enqueued, EnqueueOutcome, Verdict
from thumbq_server.storage.transitions.enqueue import enqueue
from thumbq_server.storage.transitions.revivals import RESTART

CREATED, EXISTING, RESET = EnqueueOutcome.CREATED, EnqueueOutcome.EXISTING, EnqueueOutcome.RESET


async def test_a_new_job_is_pending_due_at_once_and_announced(queue):
    [(job_id, outcome)] = await queue.enqueue(new_job(7, priority=4, max_attempts=5))
    assert outcome is CREATED
    job = await queue.job(job_id)
    assert (job.model_id, job.model_hash) == (7, model_file(1))
    assert (job.status, job.priority, job.max_attempts) == ("Pending", 4, 5)
    assert (job.attempt_count, job.lease_seq, job.worker_id) == (0, 0, None)
    assert job.run_at == job.created_at == job.updated_at
    assert await queue.news() == [Event("Pending", 7, job_id)]


@pytest.mark.parametrize("state", ["Pending", "Waiting", "Processing", "Completed"])
async def test_asking_again_finds_the_same_job_and_changes_nothing(queue, state):
    token = await queue.job_in(state, new_job(7))
    async with queue.unchanged():
        assert await queue.enqueue(new_job(7)) == [Enqueued(token.job_id, EXISTING)]


async def test_asking_again_with_other_wishes_leaves_a_live_job_as_it_was_asked_for(queue):
    await queue.enqueue(new_job(7, priority=1))
    async with queue.unchanged():
        await queue.enqueue(new_job(7, priority=9, max_attempts=1, delay=60))


@pytest.mark.parametrize("state", ["Failed", "Cancelled"])
async def test_an_ended_job_starts_anew_under_its_id(queue, state):
    token = await queue.job_in(state, new_job(7))
    before = await queue.job(token.job_id)
    await queue.news()

    request = new_job(7, priority=2, max_attempts=4)
    assert await queue.enqueue(request) == [Enqueued(token.job_id, RESET)]
    job = await queue.job(token.job_id)
    assert (job.status, job.attempt_count, job.error_message) == ("Pending", 0, None)
    assert (job.priority, job.max_attempts, job.finished_at) == (2, 4, None)
    assert job.request_no > before.request_no
    assert job.lease_seq == before.lease_seq, "the fence only ever grows"
    assert await queue.news() == [Event("Pending", 7, token.job_id)]


async def test_a_job_that_started_anew_has_all_its_attempts_and_a_newer_lease(queue):
    old = await queue.job_in("Failed", new_job(7, max_attempts=1))
    await queue.enqueue(new_job(7, max_attempts=1))
    (new,) = await queue.claim()
    assert new.lease_seq == old.lease_seq + 1
    assert (await queue.job(new.job_id)).attempt_count == 1
    assert await queue.complete(old, new) == [Verdict.STALE, Verdict.OK]


async def test_a_completed_job_starts_anew_when_its_model_went_back_to_the_older_file(queue):
    old, new = await queue.claimed(new_job(7, file=1), new_job(7, file=2))
    await queue.complete(old, new)
    assert await queue.value("completed FROM queue_head") == 2
    assert await queue.enqueue(new_job(7, file=1)) == [Enqueued(old.job_id, RESET)]
    assert await queue.value("completed FROM queue_head") == 1
    await queue.complete(*await queue.claim())
    assert (await queue.thumbnail(7)).model_hash == model_file(1)


async def test_a_completed_job_starts_anew_when_the_model_now_shows_a_newer_failure(queue):
    old, new = await queue.claimed(new_job(7, file=1), new_job(7, file=2))
    await queue.complete(old)
    await queue.fail(new)
    assert await queue.enqueue(new_job(7, file=1)) == [Enqueued(old.job_id, RESET)]


async def test_force_leaves_a_job_that_was_never_tried_alone(queue):
    token = await queue.job_in("Pending", new_job(7))
    async with queue.unchanged():
        assert await queue.enqueue(new_job(7, force=True)) == [Enqueued(token.job_id, EXISTING)]


async def test_force_makes_a_job_that_waits_for_its_retry_due_with_all_its_attempts(queue):
    token = await queue.job_in("Waiting", new_job(7))
    assert await queue.claim() == []
    await queue.news()
    request = new_job(7, force=True, priority=3, max_attempts=1)
    assert await queue.enqueue(request) == [Enqueued(token.job_id, RESET)]
    job = await queue.job(token.job_id)
    assert (job.attempt_count, job.error_message) == (0, None)
    assert (job.priority, job.max_attempts) == (3, 1)
    assert await queue.news() == [Event("Pending", 7, token.job_id)]
    assert [again.job_id for again in await queue.claim()] == [token.job_id]


@pytest.mark.parametrize("state", ["Completed", "Failed", "Cancelled"])
async def test_force_starts_an_ended_job_anew(queue, state):
    token = await queue.job_in(state, new_job(7))
    await queue.news()
    assert await queue.enqueue(new_job(7, force=True)) == [Enqueued(token.job_id, RESET)]
    assert await queue.news() == [Event("Pending", 7, token.job_id)]
    assert [claimed.job_id for claimed in await queue.claim()] == [token.job_id]


async def complete(queue, token):
    assert await queue.complete(token) == [Verdict.OK]


async def complete_without_token(queue, token):
    assert await queue.complete(token._replace(lease_seq=0)) == [Verdict.OK]


async def fail(queue, token):
    assert await queue.fail(token) == [Verdict.OK]


async def release(queue, token):
    assert await queue.release(token) == [Verdict.OK]


async def expire(queue, token):
    await queue.expired(token)


@pytest.mark.parametrize("end", [complete, complete_without_token, fail, release, expire])
async def test_force_lets_a_job_under_way_run_again_after_its_attempt(queue, end):
    await queue.job_in("Waiting", new_job(7, max_attempts=2))
    job_id = await queue.value("id FROM jobs")
    await queue.make_due(job_id)
    (token,) = await queue.claim()
    assert await queue.enqueue(new_job(7, force=True)) == [Enqueued(job_id, RESET)]
    assert await queue.status(job_id) == "Processing"
    assert await queue.claim() == [], "one attempt at a time"

    await end(queue, token)
    job = await queue.job(job_id)
    assert (job.status, job.attempt_count) == ("Pending", 0), "with all its attempts"
    (again,) = await queue.claim()
    assert again.lease_seq == token.lease_seq + 1
    await queue.complete(again)
    assert await queue.status(job_id) == "Completed"
    assert (await queue.thumbnail(7)).path == picture(again).thumbnail_path


async def test_a_forced_rerun_has_the_priority_and_the_attempts_of_its_job_and_no_delay(queue):
    (token,) = await queue.claimed(new_job(7, priority=2, max_attempts=5))
    await queue.enqueue(new_job(7, force=True, priority=9, max_attempts=1, delay=600))
    await queue.complete(token)
    job = await queue.job(token.job_id)
    assert (job.status, job.priority, job.max_attempts) == ("Pending", 2, 5)
    assert [again.job_id for again in await queue.claim()] == [token.job_id]


async def test_a_forced_rerun_shows_the_picture_of_the_first_run_until_its_own_is_there(queue):
    (first,) = await queue.claimed(new_job(7))
    await queue.enqueue(new_job(7, force=True))
    await queue.news()
    assert await queue.complete(first) == [Verdict.OK]
    assert await queue.news() == [Event("Ready", 7, first.job_id, 1)]
    thumbnail = await queue.thumbnail(7)
    assert (thumbnail.status, thumbnail.path) == ("Pending", picture(first).thumbnail_path)
    (second,) = await queue.claim()
    await queue.complete(second)
    assert (await queue.thumbnail(7)).path == picture(second).thumbnail_path


async def test_a_failure_that_will_not_be_retried_does_not_stop_a_forced_rerun(queue):
    (token,) = await queue.claimed(new_job(7, max_attempts=1))
    await queue.enqueue(new_job(7, force=True))
    await queue.fail(token)
    assert await queue.status(token.job_id) == "Pending"
    assert len(await queue.claim()) == 1


async def test_a_delayed_job_is_not_claimed_before_its_time(queue):
    delayed, at_once = await queue.enqueued(new_job(7, delay=60), new_job(8))
    job = await queue.job(delayed)
    assert (job.run_at - job.created_at).total_seconds() == 60
    assert [token.job_id for token in await queue.claim(2)] == [at_once]
    await queue.make_due(delayed)
    assert [token.job_id for token in await queue.claim(2)] == [delayed]


@pytest.mark.parametrize("state", ["Waiting", "Failed"])
async def test_a_revived_job_can_be_delayed_too(queue, state):
    token = await queue.job_in(state, new_job(7))
    await queue.enqueue(new_job(7, force=True, delay=600))
    job = await queue.job(token.job_id)
    assert (job.run_at - job.updated_at).total_seconds() == 600


@pytest.mark.parametrize(
    ("state", "asked"),
    [("Waiting", new_job(7, force=True)), ("Pending", new_job(7, options="{}", options_matter=True))],
    ids=["a retry", "a first attempt"],
)
async def test_a_job_that_was_claimed_and_given_back_meanwhile_starts_again(queue, state, asked):
    """It stands in the queue as it did before, with a lease more in its history."""
    token = await queue.job_in(state, new_job(7))
    await queue.make_due(token.job_id)

    async def claim_and_give_back():
        await queue.release(*await queue.claim())

    async with meddled(queue.database, RESTART, claim_and_give_back) as lane:
        assert await enqueue(lane, [asked]) == [Enqueued(token.job_id, RESET)]
    job = await queue.job(token.job_id)
    assert (job.status, job.attempt_count, job.options) == ("Pending", 0, asked.options)
    assert [again.job_id for again in await queue.claim()] == [token.job_id]
