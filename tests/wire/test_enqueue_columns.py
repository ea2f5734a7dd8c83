"""New jobs as columns, message by message: they have the effect, the answers and the errors of NewJob messages."""

import hashlib

import grpc
import pytest

from thumbq.v1 import queue_pb2

CREATED, EXISTING = queue_pb2.ENQUEUE_OUTCOME_CREATED, queue_pb2.ENQUEUE_OUTCOME_EXISTING
INVALID = grpc.StatusCode.INVALID_ARGUMENT


def file_of(model_id):
    return hashlib.sha256(str(model_id).encode()).digest()


def columns(*model_ids, **others):
    hashes = b"".join(map(file_of, model_ids))
    return queue_pb2.NewJobColumns(**{"model_ids": model_ids, "model_hashes": hashes, **others})


async def enqueue(queue, *model_ids, **others):
    return await queue.EnqueueColumns(queue_pb2.EnqueueColumnsRequest(columns=columns(*model_ids, **others)))


async def stored(queue):
    return {job.model_id: job for job in (await queue.ListJobs(queue_pb2.ListJobsRequest())).jobs}


async def test_jobs_in_columns_are_those_of_messages(queue):
    answer = await enqueue(queue, 3, 1, 2, priorities=[9, 0, 4], max_attempts=[7])
    assert list(answer.outcomes) == [CREATED]
    jobs = await stored(queue)
    assert [jobs[model_id].id for model_id in (3, 1, 2)] == list(answer.job_ids)
    assert [(jobs[model].priority, jobs[model].max_attempts) for model in (3, 1, 2)] == [(9, 7), (0, 7), (4, 7)]
    assert [jobs[model].model_hash for model in (3, 1, 2)] == [file_of(model).hex() for model in (3, 1, 2)]

    # Asking again, in columns or in a message, finds the same jobs. One that is asked for twice comes into being once.
    again = await enqueue(queue, 4, 2, 4, 1)
    assert list(again.outcomes) == [CREATED, EXISTING, EXISTING, EXISTING]
    assert again.job_ids[0] == again.job_ids[2]
    assert [again.job_ids[1], again.job_ids[3]] == [jobs[2].id, jobs[1].id]
    single = await queue.EnqueueJob(queue_pb2.EnqueueJobRequest(model_id=4, model_hash=file_of(4).hex()))
    assert (single.job_id, single.outcome) == (again.job_ids[0], EXISTING)
    assert (await stored(queue))[4].max_attempts == 3


@pytest.mark.changes_nothing
@pytest.mark.parametrize(
    ("model_ids", "others", "text"),
    [
        ([1, 2, 0, -1], {}, r"jobs\[2\]: modelId must be a positive integer"),
        ([1, 2], {"priorities": [0, 10]}, r"jobs\[1\]: priority must be between 0 and 9"),
        ([1, 2], {"max_attempts": [0]}, r"jobs\[0\]: maxAttempts must be between 1 and 10"),
        ([1, 2], {"priorities": [1, 2, 3]}, "priorities must have no entry, one, or one for"),
        ([1, 2], {"model_hashes": b"short"}, "modelHashes must have 32 bytes for each"),
        ([], {}, "modelIds must not be empty"),
        (range(1, 10_002), {}, "at most 10000"),
    ],
    ids=["model", "priority", "attempts", "length", "hashes", "none", "too many"],
)
async def test_of_columns_with_a_fault_no_job_is_taken(queue, model_ids, others, text):
    with pytest.raises(grpc.aio.AioRpcError, match=text) as refused:
        await enqueue(queue, *model_ids, **others)
    assert refused.value.code() is INVALID
    assert await stored(queue) == {}


async def test_on_a_stream_each_job_in_columns_is_taken_or_refused_alone(queue):
    call = queue.EnqueueStream()
    await call.write(queue_pb2.EnqueueStreamRequest(number=1, columns=columns(5, 6)))
    first = await call.read()
    assert (first.number, list(first.outcomes)) == (1, [CREATED])
    await call.write(queue_pb2.EnqueueStreamRequest(number=2, columns=columns(7, 0, 5, priorities=[1, 1, 1])))
    second = await call.read()
    assert list(second.job_ids) == [second.job_ids[0], 0, first.job_ids[0]]
    assert list(second.outcomes) == [CREATED, 0, EXISTING]
    assert [(each.place, each.code) for each in second.exceptions] == [(1, INVALID.value[0])]
    assert second.exceptions[0].message == "modelId must be a positive integer"
    await call.write(queue_pb2.EnqueueStreamRequest(number=3, columns=columns(0)))
    third = await call.read()
    assert (list(third.job_ids), [each.place for each in third.exceptions]) == ([0], [0])
    assert set(await stored(queue)) == {5, 6, 7}


@pytest.mark.changes_nothing
@pytest.mark.parametrize(
    ("jobs", "others", "text"),
    [
        ([], {"model_hashes": b"short"}, "modelHashes must have 32 bytes for each"),
        ([queue_pb2.NewJob(model_id=2, model_hash=file_of(2).hex())], {}, "jobs or columns, not both"),
    ],
    ids=["hashes", "both"],
)
async def test_columns_that_break_the_protocol_end_a_stream(queue, jobs, others, text):
    call = queue.EnqueueStream()
    await call.write(queue_pb2.EnqueueStreamRequest(number=1, jobs=jobs, columns=columns(1, **others)))
    with pytest.raises(grpc.aio.AioRpcError, match=text) as ended:
        await call.read()
    assert ended.value.code() is INVALID
    assert await stored(queue) == {}
