"""Jobs of several kinds: the workers that get them, and the effect of other options on a job that exists."""

from typing import Any

import pytest

from tests.support.postgres.queue_under_test import STATES, failure, new_job
from thumbq_server.domain.job import Enqueued, EnqueueOutcome, JobStatus
from thumbq_server.storage.transitions.claim import ClaimRequest
from thumbq_server.storage.transitions.enqueue import enqueue_and_claim
from thumbq_server.storage.transitions.retry import retry

CREATED, EXISTING, RESET = EnqueueOutcome.CREATED, EnqueueOutcome.EXISTING, EnqueueOutcome.RESET
SMALL, LARGE = '{"size":256}', '{"size":1024}'


async def as_asked(queue, job_id):
    job = await queue.job(job_id)
    return job.kind, job.options


async def test_a_worker_that_names_no_kinds_gets_models_and_no_others(queue):
    await queue.enqueue(new_job(1, kind="Sound"), new_job(2))
    assert [job.model_id for job in await queue.claim_of()] == [2]
    assert [(job.model_id, job.kind) for job in await queue.claim_of("Sound")] == [(1, "Sound")]


async def test_a_worker_gets_the_kinds_that_it_names_and_no_others(queue):
    await queue.enqueue(new_job(1, kind="Sound"), new_job(2, kind="Texture"), new_job(3))
    assert {job.model_id for job in await queue.claim_of("Sound", "Image")} == {1}
    assert {job.model_id for job in await queue.claim_of("Model", "Texture")} == {2, 3}


async def test_several_kinds_come_in_one_order(queue):
    await queue.enqueue(new_job(1, kind="Sound"), new_job(2), new_job(3, kind="Texture", priority=5))
    await queue.enqueue(new_job(4, kind="Sound", priority=9), new_job(5, priority=7))
    kinds = ("Model", "Sound", "Texture")
    assert [job.model_id for job in await queue.claim_of(*kinds, count=3)] == [4, 5, 3]
    assert [job.model_id for job in await queue.claim_of(*kinds)] == [1, 2]


async def test_a_job_of_another_kind_is_not_claimed_before_it_is_due(queue):
    (job_id,) = await queue.enqueued(new_job(1, kind="Sound", delay=60))
    assert await queue.claim_of("Sound") == []
    await queue.make_due(job_id)
    assert [job.job_id for job in await queue.claim_of("Sound")] == [job_id]


async def test_no_kind_is_handed_out_while_the_queue_is_paused(queue):
    await queue.enqueue(new_job(1, kind="Sound"))
    await queue.sql("INSERT INTO queue_pause (paused_by, reason) VALUES ('', '')")
    assert await queue.claim_of("Sound", "Model") == []


async def test_a_waiting_worker_that_names_no_kinds_is_given_models_at_once_and_no_others(queue):
    requests = (new_job(1, kind="Sound"), new_job(2, options=SMALL), new_job(3))
    _, claimed = await enqueue_and_claim(queue.lane, requests, ClaimRequest([queue.worker] * 3, [30] * 3))
    assert {(job.model_id, job.kind, job.options) for job in claimed} == {(2, "Model", SMALL), (3, "Model", None)}
    for alone, expected in ((new_job(4, kind="Sound"), []), (new_job(5, options=LARGE), [(5, LARGE)])):
        _, claimed = await enqueue_and_claim(queue.lane, [alone], ClaimRequest([queue.worker], [30]))
        assert [(job.model_id, job.options) for job in claimed] == expected


async def test_a_claim_hands_out_options(queue):
    await queue.enqueue(new_job(1, options=SMALL), new_job(2), new_job(3, kind="Sound", options=LARGE))
    assert {(job.model_id, job.options) for job in await queue.claim_of()} == {(1, SMALL), (2, None)}
    assert [(job.model_id, job.options) for job in await queue.claim_of("Sound")] == [(3, LARGE)]


async def test_a_job_keeps_its_kind_and_options_through_all_its_attempts(queue):
    (job_id,) = await queue.enqueued(new_job(1, kind="Sound", options=SMALL))
    for give_back in (queue.release, queue.fail, queue.expired):
        ((job),) = await queue.claim_of("Sound")
        assert (job.kind, job.options) == ("Sound", SMALL)
        await give_back(job.token)
        await queue.make_due(job_id)
    ((job),) = await queue.claim_of("Sound")
    await queue.fail(failure(job.token, retryable=False))
    await retry(queue.lane, [job_id])
    assert [(job.kind, job.options) for job in await queue.claim_of("Sound")] == [("Sound", SMALL)]


@pytest.mark.parametrize("state", STATES)
async def test_another_kind_of_a_job_that_exists_is_a_new_request(queue, state):
    token = await queue.job_in(state, new_job(7))
    assert await queue.enqueue(new_job(7, kind="Sound")) == [Enqueued(token.job_id, RESET)]
    assert await queue.enqueue(new_job(7, kind="Sound")) == [Enqueued(token.job_id, EXISTING)]
    if state == "Processing":
        assert await as_asked(queue, token.job_id) == ("Model", None), "as its worker has it"
        await queue.complete(token)
    assert await queue.status(token.job_id) is JobStatus.PENDING
    assert await queue.claim_of() == []
    assert [job.job_id for job in await queue.claim_of("Sound")] == [token.job_id]


@pytest.mark.parametrize("state", STATES)
async def test_other_options_that_matter_are_a_new_request(queue, state):
    token = await queue.job_in(state, new_job(7, options=SMALL))
    assert await queue.enqueue(new_job(7, options=LARGE, options_matter=True)) == [Enqueued(token.job_id, RESET)]
    if state == "Processing":
        await queue.release(token)
    assert await as_asked(queue, token.job_id) == ("Model", LARGE)
    assert [job.options for job in await queue.claim_of()] == [LARGE]


@pytest.mark.parametrize("state", ["Waiting", "Processing", "Completed", "Pending"])
async def test_other_options_that_do_not_matter_leave_a_job_as_it_is(queue, state):
    token = await queue.job_in(state, new_job(7, options=SMALL))
    assert await queue.enqueue(new_job(7, options=LARGE)) == [Enqueued(token.job_id, EXISTING)]
    assert await as_asked(queue, token.job_id) == ("Model", SMALL)


@pytest.mark.parametrize("state", ["Failed", "Cancelled"])
async def test_a_job_that_starts_again_takes_the_options_of_the_new_request(queue, state):
    token = await queue.job_in(state, new_job(7, options=SMALL))
    assert await queue.enqueue(new_job(7, options=LARGE)) == [Enqueued(token.job_id, RESET)]
    assert [job.options for job in await queue.claim_of()] == [LARGE]


async def test_a_waiting_job_whose_attempts_have_no_numbers_becomes_another_kind(queue):
    """A migration gave -1 to attempts whose number was unknown."""
    token = await queue.job_in("Completed", new_job(7))
    await queue.enqueue(new_job(7, force=True))
    await queue.sql("UPDATE attempts SET lease_seq = -1")
    await queue.sql("UPDATE jobs SET since = 0")
    assert await queue.enqueue(new_job(7, kind="Sound")) == [Enqueued(token.job_id, RESET)]
    assert [job.job_id for job in await queue.claim_of("Sound")] == [token.job_id]


async def test_a_job_of_another_kind_can_be_cancelled_while_it_waits(queue):
    token = await queue.job_in("Cancelled", new_job(7, kind="Sound"))
    assert await queue.status(token.job_id) is JobStatus.CANCELLED
    assert await queue.claim_of("Sound") == []


SMALLER: dict[str, Any] = {"options": SMALL, "options_matter": True}
LARGER: dict[str, Any] = {"options": LARGE, "options_matter": True}


@pytest.mark.parametrize("state", ["New", *STATES])
@pytest.mark.parametrize(
    ("first", "second", "becomes"),
    [
        ({"kind": "Sound"}, {}, ("Model", None)),
        (SMALLER, LARGER, ("Model", LARGE)),
        (SMALLER, {"kind": "Sound", "options": SMALL}, ("Sound", SMALL)),
    ],
    ids=["a Model after all", "other options", "another kind"],
)
async def test_two_requests_for_one_job_in_a_batch_have_the_effects_that_they_have_alone(
    queue, state, first, second, becomes
):
    held = None if state == "New" else await queue.job_in(state, new_job(7))
    answers = await queue.enqueue(new_job(7, **first), new_job(8), new_job(7, **second))
    assert [answer.outcome for answer in answers] == [CREATED if state == "New" else RESET, CREATED, RESET]
    assert answers[0].job_id == answers[2].job_id
    if state == "Processing":
        await queue.release(held)
    assert await as_asked(queue, answers[0].job_id) == becomes
    assert [job.model_id for job in await queue.claim_of(becomes[0]) if job.model_id == 7] == [7]


async def test_force_in_a_batch_brings_its_options(queue):
    token = await queue.job_in("Completed", new_job(7))
    answers = await queue.enqueue(new_job(7), new_job(7, force=True, options=LARGE))
    assert answers == [Enqueued(token.job_id, EXISTING), Enqueued(token.job_id, RESET)]
    assert [job.options for job in await queue.claim_of()] == [LARGE]


async def test_force_in_a_batch_is_not_lost_when_a_later_request_decides_about_the_options(queue):
    token = await queue.job_in("Completed", new_job(7, options=LARGE))
    forced = new_job(7, force=True, options=SMALL)
    answers = await queue.enqueue(new_job(7), forced, new_job(7, **LARGER))
    assert [answer.outcome for answer in answers] == [EXISTING, EXISTING, RESET]
    assert [(job.job_id, job.options) for job in await queue.claim_of()] == [(token.job_id, LARGE)]


async def test_of_many_requests_for_one_job_in_a_batch_the_last_that_matters_decides(queue):
    matter = [new_job(7, options=f'{{"size":{size}}}', options_matter=True) for size in range(100)]
    answers = await queue.enqueue(*matter, new_job(7), new_job(7, options=SMALL))
    assert [place for place, answer in enumerate(answers) if answer.outcome is not EXISTING] == [0, 99]
    assert await as_asked(queue, answers[0].job_id) == ("Model", '{"size":99}')


@pytest.mark.parametrize("state", ["Pending", "Completed", "Failed"])
async def test_requests_in_a_batch_that_ask_for_the_same_start_a_job_once(queue, state):
    await queue.job_in(state, new_job(7, options=SMALL))
    await queue.news()
    answers = await queue.enqueue(*[new_job(7, **LARGER)] * 2, new_job(7, force=True, options=LARGE))
    assert [answer.outcome for answer in answers] == [RESET, EXISTING, EXISTING]
    assert len(await queue.news()) == 1


async def test_a_job_that_a_worker_was_given_runs_again_as_a_later_request_in_its_batch_says(queue):
    takers = ClaimRequest([queue.worker] * 2, [30] * 2)
    answers, claimed = await enqueue_and_claim(queue.lane, [new_job(7, **SMALLER), new_job(7, **LARGER)], takers)
    assert [answer.outcome for answer in answers] == [CREATED, RESET]
    assert [job.options for job in claimed] == [SMALL]
    await queue.complete(*claimed.tokens())
    assert [job.options for job in await queue.claim_of()] == [LARGE]


async def test_a_job_that_a_worker_was_given_runs_once_when_its_batch_takes_back_another_kind(queue):
    requests = [new_job(7, kind="Sound", force=True, delay=10), new_job(7)]
    answers, claimed = await enqueue_and_claim(queue.lane, requests, ClaimRequest([queue.worker] * 2, [30] * 2))
    assert [answer.outcome for answer in answers] == [CREATED, EXISTING]
    await queue.complete(*claimed.tokens())
    assert await queue.status(answers[0].job_id) is JobStatus.COMPLETED


async def test_force_in_a_batch_is_not_lost_when_the_last_request_asks_for_what_the_first_does(queue):
    token = await queue.job_in("Completed", new_job(7))
    answers = await queue.enqueue(new_job(7), new_job(7, kind="Sound", force=True), new_job(7))
    assert [answer.outcome for answer in answers] == [RESET, EXISTING, EXISTING]
    assert [job.job_id for job in await queue.claim_of()] == [token.job_id]
