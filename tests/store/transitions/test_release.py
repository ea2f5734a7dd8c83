"""Releasing: a job is given back as if it had not been claimed."""

from tests.support.postgres.queue_under_test import new_job
from thumbq_server.domain.job import Verdict

OK = Verdict.OK


async def test_a_released_job_has_its_attempt_back_and_is_announced_to_nobody(queue):
    [job_id] = await queue.enqueued(new_job(7, max_attempts=1))
    before = await queue.job(job_id)
    (token,) = await queue.claim()
    await queue.news()
    assert await queue.release(token) == [OK]
    after = await queue.job(job_id)
    assert (after.status, after.attempt_count, after.run_at) == ("Pending", 0, before.run_at)
    assert after.lease_seq == token.lease_seq, "the fence only ever grows"
    assert await queue.news() == []


async def test_a_job_can_be_released_more_often_than_it_has_attempts(queue):
    await queue.enqueue(new_job(7, max_attempts=1))
    for _ in range(5):
        assert await queue.release(*await queue.claim()) == [OK]
    assert await queue.complete(*await queue.claim()) == [OK]


async def test_a_released_job_takes_its_place_again(queue):
    ids = await queue.enqueued(new_job(1), new_job(2), new_job(3))
    (first,) = await queue.claim()
    await queue.release(first)
    assert [token.job_id for token in await queue.claim(3)] == ids


async def test_a_release_gives_back_only_its_own_attempt(queue):
    waiting = await queue.job_in("Waiting", new_job(7))
    await queue.make_due(waiting.job_id)
    (token,) = await queue.claim()
    await queue.release(token)
    job = await queue.job(waiting.job_id)
    assert (job.status, job.attempt_count, job.lease_seq) == ("Pending", 1, token.lease_seq)
    assert job.error_message == "boom"


async def test_a_release_that_arrives_twice_in_one_batch_gives_one_attempt_back(queue):
    waiting = await queue.job_in("Waiting", new_job(7))
    await queue.make_due(waiting.job_id)
    (token,) = await queue.claim()
    assert await queue.release(token, token) == [OK, OK]
    assert (await queue.job(token.job_id)).attempt_count == 1
