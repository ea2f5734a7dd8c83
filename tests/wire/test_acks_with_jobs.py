"""Acknowledgements that travel with jobs, for a worker that takes them so."""

import pytest

from tests.support.waiting import eventually
from tests.wire.worker import Worker, done, enqueue, state
from thumbq.v1 import job_pb2
from thumbq_server.rpc.streaming import acknowledgements


@pytest.fixture(params=[False, True], ids=["messages", "columns"])
async def worker(queue, request):
    """A worker that has not said Hello yet, with each form of jobs."""
    return Worker(queue, columns=request.param, acks_with_jobs=True)


@pytest.fixture
def held_for_ever(monkeypatch):
    """Let acknowledgements wait longer than any test."""
    monkeypatch.setattr(acknowledgements, "HELD_SECONDS", 600.0)


async def ended(queue, worker, job, number):
    """Report a job, and wait until its acknowledgement is held: one with an exception, which follows it, is not."""
    await worker.reports(number, done(job))

    async def committed():
        return (await state(queue, job.id)).status == job_pb2.JOB_STATUS_COMPLETED

    await eventually(committed, timeout=60)
    await worker.reports(number + 100, done(job))
    acks = await worker.receives("result_acks")
    assert (acks.number, len(acks.exceptions), list(acks.also)) == (number + 100, 1, [])


@pytest.mark.usefixtures("held_for_ever")
async def test_acknowledgements_come_with_the_next_jobs(queue, worker):
    await enqueue(queue, 1, 2, 3)
    await worker.hello()
    await worker.wants(2)
    jobs = await worker.receives("jobs")
    assert list(jobs.acknowledged) == []
    for number, job in enumerate(jobs.jobs, start=1):
        await ended(queue, worker, job, number)
    await worker.wants(1)
    jobs = await worker.receives("jobs")
    assert ([job.model_id for job in jobs.jobs], list(jobs.acknowledged)) == ([3], [1, 2])


@pytest.mark.usefixtures("held_for_ever")
async def test_more_than_four_results_are_acknowledged_at_once(queue, worker):
    await enqueue(queue, *range(1, 7))
    await worker.hello()
    await worker.wants(6)
    first, *others = (await worker.receives("jobs")).jobs
    await ended(queue, worker, first, 1)
    await worker.reports(2, *map(done, others[:4]))
    acks = await worker.receives("result_acks")
    assert (acks.number, list(acks.also)) == (2, [1])


@pytest.mark.usefixtures("held_for_ever")
async def test_messages_without_results_are_acknowledged_at_once(queue, worker):
    await worker.hello()
    for number in range(1, 4):
        await worker.reports(number)
        acks = await worker.receives("result_acks")
        assert (acks.number, list(acks.also)) == (number, [])


@pytest.mark.usefixtures("held_for_ever")
async def test_a_drain_leaves_no_acknowledgement_behind(queue, worker):
    await enqueue(queue, 1, 2)
    await worker.hello()
    await worker.wants(2)
    first, second = (await worker.receives("jobs")).jobs
    await ended(queue, worker, first, 1)
    await worker.send(drain={})
    assert (await worker.receives("result_acks")).number == 1
    await worker.reports(2, done(second))
    assert (await worker.receives("result_acks")).number == 2


async def test_an_acknowledgement_that_has_waited_for_jobs_comes_alone(queue, worker):
    await enqueue(queue, 1)
    await worker.hello()
    await worker.wants(2)
    (job,) = (await worker.receives("jobs")).jobs
    await worker.reports(1, done(job))
    assert (await worker.receives("result_acks")).number == 1
