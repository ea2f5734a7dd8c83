"""The traces of jobs: that of the request which their present life comes from, and since when they wait in it."""

from tests.support.postgres.queue_under_test import QueueUnderTest, failure, new_job
from thumbq_server.domain.job import NewJob
from thumbq_server.domain.traces import Trace
from thumbq_server.storage.traces import of_jobs
from thumbq_server.storage.transitions.claim import NO_CLAIM
from thumbq_server.storage.transitions.enqueue import enqueue_and_claim
from thumbq_server.storage.transitions.retry import retry

FIRST, SECOND = (f"00-{digit * 32}-{digit * 16}-01" for digit in "12")


def traced(request: NewJob, traceparent: str) -> NewJob:
    return request._replace(traceparent=traceparent)


async def ask(queue: QueueUnderTest, *requests: NewJob) -> None:
    """Enqueue, on a server that knows of traces."""
    await enqueue_and_claim(queue.lane, requests, NO_CLAIM, are_traces=True)


async def trace_of(queue: QueueUnderTest, job_id: int) -> Trace | None:
    return (await of_jobs(queue.lane, [job_id])).get(job_id)


async def test_a_job_waits_for_its_first_attempt_since_it_was_created(queue):
    (token,) = await queue.claimed(traced(new_job(1), FIRST))
    created = (await queue.job(token.job_id)).created_at
    assert await trace_of(queue, token.job_id) == Trace(FIRST, None, created)


async def test_a_job_that_was_given_back_or_has_failed_does_not_wait_for_its_first_attempt(queue):
    tokens = await queue.claimed(traced(new_job(1), FIRST), traced(new_job(2), SECOND))
    await queue.release(tokens[0])
    await queue.fail(tokens[1])
    assert [await trace_of(queue, token.job_id) for token in tokens] == [Trace(FIRST, None), Trace(SECOND, None)]


async def test_a_dead_letter_that_is_started_again_waits_since_then(queue):
    (token,) = await queue.claimed(traced(new_job(1), FIRST))
    await queue.fail(failure(token, retryable=False))
    await retry(queue.lane, [token.job_id])
    began = await queue.value("reset_at FROM jobs WHERE id = $1", token.job_id)
    assert await trace_of(queue, token.job_id) == Trace(FIRST, None, began)


async def test_a_job_that_starts_again_has_the_trace_of_the_request_that_starts_it(queue):
    tokens = await queue.claimed(*(traced(new_job(model), FIRST) for model in (1, 2, 3)))
    await queue.fail(*(failure(token, retryable=False) for token in tokens[:2]))
    await ask(queue, traced(new_job(1), SECOND), new_job(2), new_job(3))
    found = [await trace_of(queue, token.job_id) for token in tokens]
    assert [trace and trace.traceparent for trace in found] == [SECOND, None, FIRST]
    assert [await queue.status(token.job_id) for token in tokens] == ["Pending", "Pending", "Processing"]


async def test_of_two_requests_in_a_batch_the_one_with_a_trace_gives_it(queue):
    (token,) = await queue.claimed(new_job(1))
    await queue.fail(failure(token, retryable=False))
    await ask(queue, traced(new_job(1), FIRST), new_job(1))
    trace = await trace_of(queue, token.job_id)
    assert trace
    assert trace.traceparent == FIRST


async def test_a_request_without_a_trace_leaves_no_row(queue):
    (token,) = await queue.claimed(new_job(1))
    await queue.fail(failure(token, retryable=False))
    await ask(queue, new_job(1))
    assert await queue.sql("SELECT FROM job_traces") == []
