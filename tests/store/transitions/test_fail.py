"""Failing: an attempt ends without a picture."""

import pytest

from tests.support.postgres.queue_under_test import DELAYS, Event, failure, new_job
from thumbq_server.domain.job import JobStatus, Verdict
from thumbq_server.storage.reads.jobs import list_jobs
from thumbq_server.storage.transitions.fail import fail

OK, STALE = Verdict.OK, Verdict.STALE


async def test_a_failed_attempt_waits_for_its_retry_and_says_so(queue):
    (token,) = await queue.claimed(new_job(7))
    await queue.news()
    assert await fail(queue.lane, [failure(token, "no such texture")], DELAYS, [1.0]) == [(OK, 7, 5.0)]

    job = await queue.job(token.job_id)
    assert (job.status, job.attempt_count, job.lease_seq) == ("Pending", 1, token.lease_seq)
    assert (job.error_message, job.finished_at) == ("no such texture", None)
    assert (job.run_at - job.updated_at).total_seconds() == 5
    assert await queue.news() == [Event("Failed", 7, token.job_id, 1, "no such texture", job.run_at)]
    assert await queue.claim() == []


async def test_the_wait_doubles_with_each_attempt(queue):
    [job_id] = await queue.enqueued(new_job(7, max_attempts=10))
    waits = []
    for _ in range(9):
        (token,) = await queue.claim()
        [(verdict, _, due_in)] = await fail(queue.lane, [failure(token)], DELAYS, [1.0])
        assert verdict is OK
        waits.append(due_in)
        await queue.make_due(job_id)
    assert waits == [5, 10, 20, 40, 80, 160, 320, 600, 600]


async def test_the_wait_has_its_own_jitter_for_each_failure(queue):
    first, second = await queue.claimed(new_job(1), new_job(2))
    answers = await fail(queue.lane, [failure(second), failure(first)], DELAYS, [0.8, 1.2])
    assert answers == [(OK, 2, 4.0), (OK, 1, 6.0)]


@pytest.mark.parametrize("retry_delay", [0.0, 42.5, 86400.0])
async def test_a_worker_may_say_when_to_try_again(queue, retry_delay):
    (token,) = await queue.claimed(new_job(7))
    report = failure(token, retry_delay=retry_delay)
    assert await fail(queue.lane, [report], DELAYS, [1.2]) == [(OK, 7, retry_delay)]
    assert len(await queue.claim()) == (1 if retry_delay == 0 else 0)


async def test_a_retry_keeps_the_priority_of_its_job(queue):
    urgent, other = await queue.claimed(new_job(1, priority=9), new_job(2))
    await queue.fail(failure(other, retry_delay=0), failure(urgent, retry_delay=0))
    assert [token.job_id for token in await queue.claim(2)] == [urgent.job_id, other.job_id]


async def assert_dead(queue, job_id, message):
    job = await queue.job(job_id)
    assert (job.status, job.error_message, job.run_at) == ("Failed", message, None)
    assert job.finished_at == job.updated_at
    (dead,) = await list_jobs(queue.database, JobStatus.FAILED, 0, 2**62, 10)
    assert dead.id == job_id
    assert (await queue.thumbnail(7)).status == "Failed"


async def test_a_failure_not_worth_retrying_ends_as_a_dead_letter(queue):
    (token,) = await queue.claimed(new_job(7))
    await queue.news()
    report = failure(token, "corrupt file", retryable=False, retry_delay=1.0)
    assert await fail(queue.lane, [report], DELAYS, [1.0]) == [(OK, 7, None)]
    await assert_dead(queue, token.job_id, "corrupt file")
    assert await queue.news() == [Event("Failed", 7, token.job_id, 1, "corrupt file", None)]


async def test_a_poison_job_is_dead_when_its_attempts_are_spent(queue):
    [job_id] = await queue.enqueued(new_job(7, max_attempts=3))
    for attempt in (1, 2, 3):
        await queue.news()
        await queue.make_due(job_id)
        (token,) = await queue.claim()
        await queue.fail(failure(token, f"crash {attempt}"))
        due = (await queue.job(job_id)).run_at
        assert await queue.news() == [Event("Failed", 7, job_id, attempt, f"crash {attempt}", due)]
    await assert_dead(queue, job_id, "crash 3")
    assert (await queue.job(job_id)).attempt_count == 3
    assert await queue.claim() == []


async def test_a_job_with_one_attempt_is_dead_after_its_first_failure(queue):
    (token,) = await queue.claimed(new_job(7, max_attempts=1))
    await queue.fail(failure(token, "boom"))
    await assert_dead(queue, token.job_id, "boom")


async def test_a_failure_that_arrives_twice_in_one_batch_spends_one_attempt(queue):
    (token,) = await queue.claimed(new_job(7))
    await queue.news()
    assert await queue.fail(token, token) == [OK, STALE]
    assert (await queue.job(token.job_id)).attempt_count == 1
    assert len(await queue.news()) == 1


async def test_a_batch_of_failures_is_one_commit_each_with_its_own_end(queue):
    retried, dead, hurried = await queue.claimed(new_job(1), new_job(2), new_job(3))
    await queue.news()
    reports = [failure(hurried, "c", retry_delay=0), failure(dead, "b", retryable=False), failure(retried, "a")]
    answers = await fail(queue.lane, reports, DELAYS, [1.0] * 3)
    assert answers == [(OK, 3, 0.0), (OK, 2, None), (OK, 1, 5.0)]
    assert await queue.value("count(*) FROM notifications WHERE status = 'Failed'") == 1
    due = {model: (await queue.job(token.job_id)).run_at for model, token in ((1, retried), (3, hurried))}
    assert sorted(await queue.news(), key=lambda event: event.model_id) == [
        Event("Failed", 1, retried.job_id, 1, "a", due[1]),
        Event("Failed", 2, dead.job_id, 1, "b", None),
        Event("Failed", 3, hurried.job_id, 1, "c", due[3]),
    ]


async def test_a_job_that_is_buried_a_second_time_stands_once_among_the_dead(queue):
    for _ in range(2):
        await queue.enqueue(new_job(7))
        (token,) = await queue.claim()
        await queue.fail(failure(token, retryable=False))
    assert await queue.value("count(*) FROM attempts WHERE dead") == 1


async def test_an_error_message_of_any_script_and_shape_is_kept(queue):
    message = "Ünïcödé 模型 🧨\n\tat line 3 'quote' \\ {brace} %s $1"
    (token,) = await queue.claimed(new_job(7))
    await queue.fail(failure(token, message))
    assert (await queue.job(token.job_id)).error_message == message
    assert (await queue.news())[-1].error_message == message
