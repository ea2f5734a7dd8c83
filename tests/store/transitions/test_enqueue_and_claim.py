"""Jobs that are created while workers wait go straight into their hands."""

import pytest

from tests.support.postgres.queue_under_test import QueueUnderTest, model_file, new_job, picture
from thumbq_server.domain.job import EnqueueOutcome, NewJob, Verdict
from thumbq_server.storage.pause import begin_pause, end_pause
from thumbq_server.storage.transitions.claim import ClaimRequest
from thumbq_server.storage.transitions.enqueue import enqueue_and_claim
from thumbq_server.storage.transitions.release import release_claim


async def enqueue_for(queue: QueueUnderTest, count: int, *requests: NewJob, claim_id: int = 0):
    """Return the ids of the jobs, and the jobs that `count` waiting workers got."""
    takers = ClaimRequest([queue.worker] * count, [30] * count, claim_id)
    answers, claimed = await enqueue_and_claim(queue.lane, requests, takers)
    return [answer.job_id for answer in answers], claimed


async def test_a_new_job_is_processing_at_once(queue):
    [job_id], [claimed] = await enqueue_for(queue, 1, new_job(7, priority=2, max_attempts=5))
    job = await queue.job(job_id)
    assert claimed.job_id == job_id
    assert (claimed.model_id, claimed.model_hash, claimed.attempt) == (7, model_file(1), 1)
    assert (claimed.priority, claimed.max_attempts, claimed.created_at) == (2, 5, job.created_at)
    assert (claimed.expires_at - claimed.claimed_at).total_seconds() == 30
    assert (job.status, job.attempt_count, job.lease_seq) == ("Processing", 1, claimed.lease_seq)
    assert (job.lease_expires_at, job.updated_at) == (claimed.expires_at, claimed.claimed_at)
    assert await queue.complete(claimed.token) == [Verdict.OK]


async def test_it_is_announced_like_every_other(queue):
    [job_id], _ = await enqueue_for(queue, 1, new_job(7))
    [event] = await queue.news()
    assert (event.status, event.model_id, event.job_id) == ("Pending", 7, job_id)


async def test_the_most_urgent_go_first_and_the_rest_waits(queue):
    requests = [new_job(1), new_job(2, priority=9), new_job(3), new_job(4, priority=5)]
    ids, claimed = await enqueue_for(queue, 2, *requests)
    assert [job.model_id for job in claimed] == [2, 4]
    assert [await queue.status(job_id) for job_id in ids] == ["Pending", "Processing", "Pending", "Processing"]
    assert [token.job_id for token in await queue.claim(5)] == [ids[0], ids[2]]


async def test_each_worker_gets_its_own(queue):
    takers = ClaimRequest([queue.worker, 12345], [10, 600])
    _, claimed = await enqueue_and_claim(queue.lane, [new_job(1), new_job(2)], takers)
    assert [(job.expires_at - job.claimed_at).total_seconds() for job in claimed] == [10, 600]
    rows = await queue.sql("SELECT job_id, session FROM leases ORDER BY job_id")
    assert [tuple(row) for row in rows] == [(claimed[0].job_id, queue.worker), (claimed[1].job_id, 12345)]


async def test_a_job_that_is_not_due_waits(queue):
    ids, claimed = await enqueue_for(queue, 2, new_job(1, delay=60), new_job(2))
    assert [job.model_id for job in claimed] == [2]
    assert await queue.status(ids[0]) == "Pending"


@pytest.mark.parametrize("state", ["Pending", "Processing", "Completed", "Failed"])
async def test_a_known_job_is_not_claimed(queue, state):
    token = await queue.job_in(state, new_job(7))
    takers = ClaimRequest([queue.worker] * 2, [30] * 2)
    answers, claimed = await enqueue_and_claim(queue.lane, [new_job(7), new_job(8)], takers)
    assert [job.model_id for job in claimed] == [8]
    assert answers[0].job_id == token.job_id
    assert answers[0].outcome is (EnqueueOutcome.RESET if state == "Failed" else EnqueueOutcome.EXISTING)


async def test_what_it_took_is_found_again_by_the_id_of_the_claim(queue):
    ids, _ = await enqueue_for(queue, 2, new_job(1), new_job(2), new_job(3), claim_id=99)
    await release_claim(queue.lane, 99)
    assert [await queue.status(job_id) for job_id in ids] == ["Pending"] * 3
    assert [(await queue.job(job_id)).attempt_count for job_id in ids] == [0] * 3


async def test_a_result_counts_as_for_every_other(queue):
    _, claimed = await enqueue_for(queue, 3, *[new_job(model) for model in (1, 2, 3)])
    await queue.complete(*[picture(job.token) for job in claimed])
    assert await queue.value("completed FROM queue_head") == 3


@pytest.mark.parametrize("count", [1, 3])
async def test_a_paused_queue_gives_no_new_job_away(queue, database, count):
    await begin_pause(database, "ada", "")
    ids, claimed = await enqueue_for(queue, count, *map(new_job, range(1, count + 1)))
    assert claimed == []
    assert await queue.claim(count) == []
    await end_pause(database)
    assert [token.job_id for token in await queue.claim(count)] == ids
