"""The SDK's producer against a real server."""

import asyncio

import pytest
from google.protobuf.duration_pb2 import Duration

from tests.support.service.server import running_server
from tests.support.waiting import eventually
from tests.wire.sdk.sdk import HASH, PICTURE, connected, enqueue, working
from thumbq import EnqueueOutcome, InvalidJob, Job, JobNotFound, JobStatus, NewJob, Producer, Thumbnail, Unavailable


async def complete(job: Job) -> Thumbnail:
    return PICTURE


async def test_any_number_of_jobs_is_enqueued_in_order(server: str):
    jobs = [NewJob(model_id=number + 1, model_hash=HASH) for number in range(25_000)]
    async with Producer(server) as producer:
        enqueued = await producer.enqueue(jobs)
        assert len(enqueued) == 25_000
        assert {answer.outcome for answer in enqueued} == {EnqueueOutcome.ENQUEUE_OUTCOME_CREATED}
        last = await producer.get(enqueued[-1].job_id)
    assert (last.model_id, last.model_hash) == (25_000, HASH)


async def test_asking_again_finds_the_same_job(server: str):
    async with Producer(server) as producer:
        first = await producer.enqueue_one(NewJob(model_id=7, model_hash=HASH))
        again = await producer.enqueue_one(NewJob(model_id=7, model_hash=HASH))
    assert first.outcome == EnqueueOutcome.ENQUEUE_OUTCOME_CREATED
    assert again == (first.job_id, EnqueueOutcome.ENQUEUE_OUTCOME_EXISTING)


async def test_enqueuing_one_job_carries_all_its_fields(server: str):
    new = NewJob(
        model_id=7, model_hash=HASH, priority=9, max_attempts=1, delay=Duration(seconds=3600), model_version_id=3
    )
    async with Producer(server) as producer:
        job = await producer.get((await producer.enqueue_one(new)).job_id)
        assert (job.priority, job.max_attempts) == (9, 1)
        assert 3500 < job.run_at.seconds - job.created_at.seconds <= 3600
    assert job.model_version_id == 3


async def test_force_starts_a_completed_job_again(server: str):
    async with Producer(server) as producer, working(server, complete):
        first = await producer.enqueue_one(NewJob(model_id=7, model_hash=HASH))
        assert (await producer.get(first.job_id, wait=60)).status == JobStatus.JOB_STATUS_COMPLETED
        forced = await producer.enqueue_one(NewJob(model_id=7, model_hash=HASH, force=True))
    assert forced == (first.job_id, EnqueueOutcome.ENQUEUE_OUTCOME_RESET)


async def test_a_job_can_be_waited_for(server: str):
    async with Producer(server) as producer:
        job_id, _ = await producer.enqueue_one(NewJob(model_id=7, model_hash=HASH))
        waiting = asyncio.create_task(producer.get(job_id, wait=45))  # longer than one call may wait
        assert (await producer.get(job_id, wait=0.05)).status == JobStatus.JOB_STATUS_PENDING
        assert not waiting.done()
        async with working(server, complete):
            assert (await waiting).status == JobStatus.JOB_STATUS_COMPLETED


async def test_the_error_names_an_unknown_job(server: str):
    async with Producer(server) as producer:
        with pytest.raises(JobNotFound, match="no job 999"):
            await producer.get(999)


async def test_jobs_are_listed_over_all_pages_newest_first(server: str):
    ids = await enqueue(server, 250)
    async with Producer(server) as producer:
        assert [job.id async for job in producer.jobs()] == ids[::-1]
        assert [job.id async for job in producer.jobs(model_id=3)] == [ids[2]]
        assert [job async for job in producer.jobs(status=JobStatus.JOB_STATUS_FAILED)] == []


async def test_calls_wait_for_a_server_that_is_away(database_url: str, unused_tcp_port: int):
    address = f"127.0.0.1:{unused_tcp_port}"
    job = NewJob(model_id=7, model_hash=HASH)
    async with Producer(address) as patient, Producer(address, timeout=0.1) as impatient:
        enqueuing = asyncio.create_task(patient.enqueue_one(job))
        with pytest.raises(Unavailable, match=address) as timed_out:
            await impatient.enqueue_one(job)
        assert timed_out.value.retryable
        async with running_server(database_url, grpc_port=unused_tcp_port):
            assert (await enqueuing).outcome == EnqueueOutcome.ENQUEUE_OUTCOME_CREATED


async def test_a_call_that_a_stopping_server_cancels_is_retried(database_url: str, unused_tcp_port: int):
    address = f"127.0.0.1:{unused_tcp_port}"
    async with connected(database_url) as database, Producer(address) as producer:
        async with database.transaction():
            await database.execute("LOCK TABLE jobs")
            async with running_server(database_url, grpc_port=unused_tcp_port):
                enqueuing = asyncio.create_task(producer.enqueue_one(NewJob(model_id=7, model_hash=HASH)))
                await eventually(lambda: database.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted"))
            assert not enqueuing.done()
        async with running_server(database_url, grpc_port=unused_tcp_port):
            job_id, _ = await enqueuing
            assert await database.fetchval("SELECT array_agg(id) FROM jobs") == [job_id]


async def test_a_refusal_is_raised_at_once(server: str):
    async with Producer(server) as producer:
        good, bad = NewJob(model_id=7, model_hash=HASH), NewJob(model_id=7, model_hash="short")
        with pytest.raises(InvalidJob, match="modelHash must be a SHA-256") as refused:
            await producer.enqueue([good, bad])
        assert not refused.value.retryable
        with pytest.raises(InvalidJob, match="modelHash must be a SHA-256"):
            await producer.enqueue_one(bad)
        assert [job async for job in producer.jobs()] == []


async def test_the_progress_of_a_long_enqueue_is_told(server: str):
    counts: list[int] = []
    async with Producer(server) as producer:
        jobs = (NewJob(model_id=number + 1, model_hash=HASH) for number in range(10_001))
        assert len(await producer.enqueue(jobs, progress=counts.append)) == 10_001
    assert counts == [10_000, 10_001]


async def test_outside_of_async_with_an_error_says_what_to_do(server: str):
    with pytest.raises(RuntimeError, match="use it inside `async with`"):
        await Producer(server).get(1)
