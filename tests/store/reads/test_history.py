"""The history of a job: each end of an attempt leaves a row, and nothing takes it away."""

from tests.support.postgres.queue_under_test import failure, new_job, picture
from thumbq_server.storage.reads.history import read_history
from thumbq_server.storage.transitions.retry import retry


async def told(queue, job_id):
    return [(row.outcome, row.attempt, row.error_message) for row in await read_history(queue.database, job_id)]


async def test_an_unknown_job_has_no_history(queue):
    assert await read_history(queue.database, 999_999_999) == []


async def test_every_end_of_an_attempt_stays_in_the_history(queue):
    [job_id] = await queue.enqueued(new_job(7, max_attempts=2))
    await queue.release(*await queue.claim())
    await queue.fail(*await queue.claim())
    await queue.make_due(job_id)
    await queue.expired(*await queue.claim())
    assert await told(queue, job_id) == [
        ("Released", 1, None),
        ("Failed", 1, "boom"),
        ("Failed", 2, "Lease expired: worker worker-1 stopped responding"),
    ]
    await retry(queue.lane, [job_id])
    await queue.complete(*await queue.claim())
    assert (await told(queue, job_id))[3:] == [("Completed", 1, None)]


async def test_an_attempt_says_who_made_it_from_when_to_when_and_what_came_of_it(queue):
    (token,) = await queue.claimed(new_job(7))
    claimed = await queue.job(token.job_id)
    await queue.complete(picture(token, "/a.webp"))
    (attempt,) = await read_history(queue.database, token.job_id)
    ended = await queue.job(token.job_id)
    assert (attempt.worker_id, attempt.lease_seq, attempt.path) == ("worker-1", token.lease_seq, "/a.webp")
    assert (attempt.claimed_at, attempt.ended_at) == (claimed.updated_at, ended.finished_at)


async def test_a_job_that_is_cancelled_while_it_waits_had_no_worker(queue):
    token = await queue.job_in("Waiting", new_job(7))
    await queue.cancel(token.job_id)
    failed, cancelled = await read_history(queue.database, token.job_id)
    assert (failed.outcome, failed.worker_id) == ("Failed", "worker-1")
    assert (cancelled.outcome, cancelled.worker_id, cancelled.claimed_at) == ("Cancelled", None, None)
    assert (await queue.job(token.job_id)).error_message == "boom"


async def test_a_job_that_was_reset_forgets_its_errors_and_keeps_its_history(queue):
    (token,) = await queue.claimed(new_job(7))
    await queue.fail(failure(token, retryable=False))
    await queue.enqueue(new_job(7))
    job = await queue.job(token.job_id)
    assert (job.status, job.error_message, job.attempt_count) == ("Pending", None, 0)
    assert await told(queue, token.job_id) == [("Failed", 1, "boom")]
