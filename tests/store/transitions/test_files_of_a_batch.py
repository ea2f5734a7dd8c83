"""Several files of one model in one batch: each is a newer request than those that are named before it."""

from itertools import permutations

import pytest

from tests.support.conditions import at_once, meddled
from tests.support.postgres.queue_under_test import model_file, new_job
from thumbq_server.domain.job import Enqueued, EnqueueOutcome, Verdict
from thumbq_server.storage.transitions.claim import ClaimRequest
from thumbq_server.storage.transitions.enqueue import enqueue, enqueue_and_claim
from thumbq_server.storage.transitions.order import FIND_MODELS
from thumbq_server.storage.transitions.revivals import RENEW

OK = Verdict.OK
A, B = 1, 2


async def assert_shows(queue, file, status="Ready"):
    thumbnail = await queue.thumbnail(7)
    assert (thumbnail.status, thumbnail.model_hash) == (status, model_file(file))


async def test_any_number_of_files_of_one_model_may_be_asked_for_again_in_one_batch(queue):
    files = [new_job(7, file=file) for file in range(1, 31)]
    created = await queue.enqueued(*files)
    assert await queue.enqueue(*files) == [Enqueued(job_id, EnqueueOutcome.EXISTING) for job_id in created]


@pytest.mark.parametrize("order", list(permutations([1, 2, 3])))
@pytest.mark.parametrize("workers", [0, 3])
async def test_of_new_files_in_one_batch_the_last_is_the_newest(queue, order, workers):
    takers = ClaimRequest([queue.worker] * workers, [30] * workers)
    answers, claimed = await enqueue_and_claim(queue.lane, [new_job(7, file=file) for file in order], takers)
    assert [answer.outcome for answer in answers] == [EnqueueOutcome.CREATED] * 3
    await queue.complete(*[job.token for job in claimed], *await queue.claim(3))
    await assert_shows(queue, order[-1])


@pytest.mark.parametrize("order", list(permutations([A, B])))
@pytest.mark.parametrize("shown", [A, B])
async def test_of_known_files_in_one_batch_the_last_is_the_newest(queue, order, shown):
    """One of them is rendered again, and the other is kept."""
    tokens = await queue.claimed(*[new_job(7, file=file) for file in (B + A - shown, shown)])
    await queue.complete(*tokens)
    await assert_shows(queue, shown)
    answers = await queue.enqueue(*[new_job(7, file=file) for file in order])
    outcomes = {shown: EnqueueOutcome.EXISTING, B + A - shown: EnqueueOutcome.RESET}
    assert [answer.outcome for answer in answers] == [outcomes[file] for file in order]
    await queue.complete(*await queue.claim())
    await assert_shows(queue, order[-1])


@pytest.mark.parametrize("order", list(permutations([A, B])))
async def test_the_last_is_the_newest_when_the_batch_comes_again(queue, order):
    batch = [new_job(7, file=file) for file in order]
    created = await queue.enqueued(*batch)
    assert await queue.enqueue(*batch) == [Enqueued(job_id, EnqueueOutcome.EXISTING) for job_id in created]
    await queue.complete(*await queue.claim(2))
    await assert_shows(queue, order[-1])


@pytest.mark.parametrize("order", list(permutations([A, B])))
async def test_the_last_is_the_newest_when_both_were_overtaken(queue, order):
    await queue.enqueued(new_job(7, file=A), new_job(7, file=B), new_job(7, file=3))
    await queue.enqueue(*[new_job(7, file=file) for file in order])
    await queue.complete(*await queue.claim(3))
    await assert_shows(queue, order[-1])


async def test_the_last_is_the_newest_when_it_is_of_another_kind_than_before(queue):
    requests = [new_job(7, file=B), new_job(7, file=A), new_job(7, file=A, kind="Sound")]
    _, a, _ = await queue.enqueued(*requests)
    assert [(row.job_id, row.kind) for row in await queue.claim_of("Sound")] == [(a, "Sound")]
    await queue.complete(*await queue.claim())
    assert (await queue.thumbnail(7)).status == "Processing"


async def test_a_forced_request_after_another_file_in_a_batch_has_the_effects_that_it_has_alone(queue):
    """The attempt under way belongs to the request before them, so its failure does not hide the picture of B."""
    (a,) = await queue.claimed(new_job(7, file=A))
    await queue.enqueue(new_job(7, file=B), new_job(7, file=A, force=True))
    await queue.fail(a)
    tokens = {token.job_id: token for token in await queue.claim(2)}
    again = tokens.pop(a.job_id)
    await queue.complete(*tokens.values())
    await assert_shows(queue, B, status="Processing")
    await queue.complete(again)
    await assert_shows(queue, A)


@pytest.mark.parametrize("order", list(permutations([1, 2, 3])))
@pytest.mark.parametrize("state", ["new", "known", "forced"])
async def test_each_file_in_a_batch_is_a_newer_request_than_those_named_before_it(queue, order, state):
    """The last one is cancelled, so the one before it decides."""
    if state != "new":
        await queue.enqueue(*[new_job(7, file=file) for file in (2, 3, 1)])
    running = await queue.claim(3) if state == "forced" else []
    answers = await queue.enqueue(*[new_job(7, file=file, force=state == "forced") for file in order])
    await queue.release(*running)
    tokens = {token.job_id: token for token in await queue.claim(3)}
    first, second, last = [answer.job_id for answer in answers]
    await queue.cancel(last)
    await queue.complete(tokens[second])
    await queue.complete(tokens[first])
    await assert_shows(queue, order[1])


@pytest.mark.parametrize("state", ["waiting", "under way"])
async def test_batches_that_name_the_files_of_a_model_in_any_order_do_not_block_each_other(
    queue, lanes, no_second_try, state
):
    await queue.enqueue(*[new_job(7, file=file) for file in (1, 2, 3)])
    await queue.claim(3 if state == "under way" else 0)
    batches = [[new_job(7, file=file, force=True) for file in order] for order in permutations([1, 2, 3])]
    answers = await at_once(*[enqueue(lane, batch) for lane, batch in zip(lanes, batches * 3, strict=False)])
    assert len({answer.job_id for batch in answers for answer in batch}) == 3


@pytest.mark.parametrize("step", [FIND_MODELS, RENEW], ids=["looked at", "carried out"])
async def test_the_last_file_is_shown_though_all_ended_before_the_order_was(queue, step):
    requests = [new_job(7, file=B), new_job(7, file=A)]

    async def end_in_the_order_of_their_numbers():
        for token in await queue.claim(2):
            await queue.complete(token)

    async with meddled(queue.database, step, end_in_the_order_of_their_numbers) as lane:
        await enqueue(lane, requests)
    await queue.complete(*await queue.claim(2))
    await assert_shows(queue, A)
