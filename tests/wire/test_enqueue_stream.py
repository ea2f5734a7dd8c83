"""EnqueueStream, message by message: answers, refusals of single jobs, flow control, and how a stream ends."""

import asyncio
import contextlib

import asyncpg
import grpc
import pytest
from structlog.testing import capture_logs

from tests.support.service.server import running_server
from tests.support.waiting import eventually
from tests.wire.sdk.sdk import until
from tests.wire.worker import HASH
from thumbq.v1 import job_pb2, queue_pb2, queue_pb2_grpc
from thumbq_server.rpc.streaming import producer_stream

CREATED, EXISTING = queue_pb2.ENQUEUE_OUTCOME_CREATED, queue_pb2.ENQUEUE_OUTCOME_EXISTING
INVALID = grpc.StatusCode.INVALID_ARGUMENT.value[0]


def job(model_id, **changed):
    return queue_pb2.NewJob(**{"model_id": model_id, "model_hash": HASH, **changed})


def message(number, *jobs):
    return queue_pb2.EnqueueStreamRequest(number=number, jobs=jobs)


async def answer(call):
    received = await call.read()
    assert received is not grpc.aio.EOF
    return received


async def ended_with(call):
    """Read to the end of the stream. Return its status."""
    with contextlib.suppress(grpc.aio.AioRpcError):
        while await call.read() is not grpc.aio.EOF:
            pass
    return await call.code(), await call.details()


async def write_all(call, jobs, count, first=1):
    for number in range(first, first + count):
        await call.write(message(number, *jobs))


async def stored(queue):
    return {job.model_id: job.id for job in (await queue.ListJobs(queue_pb2.ListJobsRequest())).jobs}


@pytest.fixture
async def call(queue):
    return queue.EnqueueStream()


async def test_each_message_is_answered_after_its_commit(queue, call):
    await call.write(message(7, job(1), job(2), job(3)))
    first = await answer(call)
    assert (first.number, list(first.outcomes), len(first.exceptions)) == (7, [CREATED], 0)
    assert await stored(queue) == dict(zip((1, 2, 3), first.job_ids, strict=True))
    await call.write(message(8, job(3), job(4)))
    second = await answer(call)
    assert (second.number, list(second.outcomes)) == (8, [EXISTING, CREATED])
    assert second.job_ids[0] == first.job_ids[2]


async def test_many_messages_are_under_way_at_once(queue, call):
    for number in range(1, 201):
        await call.write(message(number, job(number)))
    await call.done_writing()
    answers = [await answer(call) for _ in range(200)]
    assert sorted(answer.number for answer in answers) == list(range(1, 201))
    assert await call.read() is grpc.aio.EOF
    assert await call.code() is grpc.StatusCode.OK


async def test_a_job_that_is_refused_harms_no_other(queue, call):
    await call.write(message(1, job(1), job(2, model_hash="short"), job(3), job(0), job(5, model_version_id=-1)))
    taken = await answer(call)
    assert [bool(job_id) for job_id in taken.job_ids] == [True, False, True, False, False]
    assert list(taken.outcomes) == [CREATED, 0, CREATED, 0, 0]
    assert [(each.place, each.code) for each in taken.exceptions] == [(1, INVALID), (3, INVALID), (4, INVALID)]
    assert "modelHash must be a SHA-256" in taken.exceptions[0].message
    assert set(await stored(queue)) == {1, 3}


async def test_a_message_of_refused_jobs_only_is_answered(call):
    await call.write(message(1, job(0)))
    assert list((await answer(call)).job_ids) == [0]


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        (message(2), "jobs must not be empty"),
        (message(2, *(job(number) for number in range(1, 1_002))), "at most 1000"),
    ],
)
async def test_a_message_that_breaks_the_protocol_ends_the_stream_after_the_answers(queue, call, wrong, text):
    await call.write(message(1, job(1)))
    await call.write(wrong)
    assert (await answer(call)).number == 1
    code, details = await ended_with(call)
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert text in details
    assert set(await stored(queue)) == {1}


async def test_the_versions_of_models_come_along(queue, call):
    await call.write(message(1, job(1, model_version_id=71)))
    (job_id,) = (await answer(call)).job_ids
    assert (await queue.GetJob(queue_pb2.GetJobRequest(job_id=job_id))).job.model_version_id == 71


async def test_a_producer_is_not_listened_to_while_too_much_is_unanswered(database_url, queue, call):
    database = await asyncpg.connect(database_url)
    transaction = database.transaction()
    await transaction.start()
    await database.execute("LOCK TABLE jobs")
    most = producer_stream.MOST_UNANSWERED
    for number in range(1, most + 1):
        await call.write(message(number, job(number)))
    # More than the connection keeps, so that writing it ends when the server reads again.
    writing = asyncio.create_task(write_all(call, [job(number) for number in range(1, 1_001)], 50, first=most + 1))
    await eventually(lambda: database.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted"))
    await transaction.rollback()
    answers = [await answer(call) for _ in range(most + 50)]
    assert len({answer.number for answer in answers}) == most + 50
    await writing
    await database.close()


async def test_a_server_that_shuts_down_answers_what_it_has_read(database_url):
    async with contextlib.AsyncExitStack() as channels:
        async with running_server(database_url) as address:
            channel = await channels.enter_async_context(grpc.aio.insecure_channel(address))
            call = queue_pb2_grpc.QueueServiceStub(channel).EnqueueStream()
            await call.write(message(1, job(1)))
            assert (await answer(call)).number == 1
        code, details = await ended_with(call)
        assert code is grpc.StatusCode.UNAVAILABLE
        assert "shuts down" in details


async def test_a_producer_that_does_not_read_is_given_up(call, monkeypatch):
    monkeypatch.setattr("thumbq_server.rpc.streaming.writing.STUCK_SECONDS", 1.0)
    jobs = [job(0)] * 1_000  # refused, so that the answers are long
    with capture_logs() as lines:
        writing = asyncio.create_task(write_all(call, jobs, 10_000))
        await until(lambda: any(line["event"] == "stream.broken" for line in lines))
    [line] = [line for line in lines if line["event"] == "stream.broken"]
    assert line["error"] == "the client does not read what it is sent"
    # grpc says INTERNAL when a stream ends while its client writes.
    assert (await ended_with(call))[0] in (grpc.StatusCode.ABORTED, grpc.StatusCode.INTERNAL)
    await asyncio.gather(writing, return_exceptions=True)


async def test_jobs_of_a_stream_that_broke_are_there_or_can_be_sent_again(queue, call):
    await call.write(message(1, *(job(number) for number in range(1, 501))))
    call.cancel()
    again = queue.EnqueueStream()
    await again.write(message(1, *(job(number) for number in range(1, 501))))
    ids = (await answer(again)).job_ids
    assert len(set(ids)) == 500
    jobs = (await queue.ListJobs(queue_pb2.ListJobsRequest(page_size=1000))).jobs
    assert sorted(each.id for each in jobs) == sorted(ids)
    assert {each.status for each in jobs} == {job_pb2.JOB_STATUS_PENDING}
