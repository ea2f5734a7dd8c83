"""Kinds and options on the wire: each worker gets its kinds, and wrong ones are refused."""

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.json_format import MessageToDict
from google.protobuf.struct_pb2 import Struct

from tests.wire.hostile.hostile import code_of
from tests.wire.worker import HASH, Worker, done, state
from thumbq.v1 import job_pb2, queue_pb2

RENDERED = {"size": 512, "views": ["front", "top"], "light": {"warm": True, "strength": 0.5, "from": None}}


def options(value):
    message = Struct()
    message.update(value)
    return message


async def enqueue(queue, model_id, **fields):
    return await queue.EnqueueJob(queue_pb2.EnqueueJobRequest(model_id=model_id, model_hash=HASH, **fields))


async def dequeue(queue, *kinds, count=10, wait=0):
    request = queue_pb2.DequeueJobsRequest(worker_id="w1", max_jobs=count, kinds=kinds, wait=Duration(seconds=wait))
    return (await queue.DequeueJobs(request)).jobs


@pytest.mark.parametrize("columns", [False, True], ids=["messages", "columns"])
async def test_a_stream_brings_the_kinds_that_its_worker_names_with_their_options(queue, columns):
    await enqueue(queue, 1, kind="Sound", options=options(RENDERED))
    await enqueue(queue, 2)
    await enqueue(queue, 3, kind="Texture")
    await enqueue(queue, 4, options=options({"size": 64}))
    worker = Worker(queue, columns=columns, kinds=["Sound", "Model"])
    await worker.hello()
    await worker.wants(10)
    jobs = (await worker.receives("jobs")).jobs
    assert [(job.model_id, job.asset_type, MessageToDict(job.options)) for job in jobs] == [
        (1, "Sound", RENDERED),
        (2, "Model", {}),
        (4, "Model", {"size": 64}),
    ]
    assert not jobs[1].HasField("options")
    await worker.reports(1, *map(done, jobs))
    await worker.receives("result_acks")
    assert (await state(queue, jobs[0].id)).status == job_pb2.JOB_STATUS_COMPLETED


async def test_a_stream_that_names_no_kinds_brings_models(queue):
    await enqueue(queue, 1, kind="Sound")
    await enqueue(queue, 2)
    worker = Worker(queue)
    await worker.hello()
    await worker.wants(10)
    assert [job.model_id for job in (await worker.receives("jobs")).jobs] == [2]


async def test_a_job_reaches_a_worker_that_waits_for_its_kind(queue):
    worker = Worker(queue, kinds=["Sound"])
    await worker.hello()
    await worker.wants(1)
    await enqueue(queue, 1)
    await enqueue(queue, 2, kind="Sound")
    assert [job.model_id for job in (await worker.receives("jobs")).jobs] == [2]


async def test_a_dequeue_brings_the_kinds_that_it_names(queue):
    await enqueue(queue, 1, kind="Sound")
    await enqueue(queue, 2)
    assert [job.model_id for job in await dequeue(queue)] == [2]
    one = await queue.DequeueJob(queue_pb2.DequeueJobRequest(worker_id="w1", kinds=["Texture", "Sound"]))
    assert (one.job.model_id, one.job.asset_type) == (1, "Sound")
    assert not await dequeue(queue, "Sound", "Texture")


async def test_two_workers_of_other_sets_of_kinds_share_what_both_take(queue):
    first, second = Worker(queue, kinds=["Sound", "Texture"]), Worker(queue, kinds=["Image", "Sound"])
    for name, worker in (("first", first), ("second", second)):
        await worker.hello(name)
        await worker.wants(1)
    for model_id in (1, 2):
        await enqueue(queue, model_id, kind="Sound")
    taken = [(await worker.receives("jobs")).jobs[0].model_id for worker in (first, second)]
    assert sorted(taken) == [1, 2]


async def test_a_job_shows_its_kind_and_its_options(queue):
    answer = await enqueue(queue, 1, kind="Sound", options=options(RENDERED))
    job = await state(queue, answer.job_id)
    assert (job.asset_type, MessageToDict(job.options)) == ("Sound", RENDERED)
    listed = (await queue.ListJobs(queue_pb2.ListJobsRequest())).jobs[0]
    assert (listed.asset_type, MessageToDict(listed.options)) == ("Sound", RENDERED)


async def test_an_answer_says_that_kind_and_options_were_understood_when_they_were_named(queue):
    assert not (await enqueue(queue, 1)).HasField("kinds_known")
    for fields in ({"kind": "Sound"}, {"kind": "Model"}, {"options": options({"a": 1})}, {"options_matter": True}):
        assert (await enqueue(queue, 1, **fields)).kinds_known
    named = queue_pb2.NewJob(model_id=3, model_hash=HASH, kind="Sound")
    request = queue_pb2.EnqueueJobsRequest(jobs=[queue_pb2.NewJob(model_id=2, model_hash=HASH), named])
    answers = (await queue.EnqueueJobs(request)).jobs
    assert [answer.HasField("kinds_known") for answer in answers] == [False, True]


async def test_other_options_start_a_job_again_only_if_they_matter(queue):
    first = await enqueue(queue, 1, options=options({"size": 1, "b": 2}))
    same = await enqueue(queue, 1, options=options({"b": 2.0, "size": 1}), options_matter=True)
    kept = await enqueue(queue, 1, options=options({"size": 3}))
    other = await enqueue(queue, 1, options=options({"size": 3}), options_matter=True)
    outcomes = [answer.outcome for answer in (first, same, kept, other)]
    existing = queue_pb2.ENQUEUE_OUTCOME_EXISTING
    assert outcomes == [queue_pb2.ENQUEUE_OUTCOME_CREATED, existing, existing, queue_pb2.ENQUEUE_OUTCOME_RESET]
    assert MessageToDict((await dequeue(queue))[0].options) == {"size": 3}


NESTED = {"a": {"b": {"c": {"d": 1}}}}
REFUSED = {
    "a kind that is too long": ({"kind": "x" * 51}, "assetType"),
    "a kind with a line break": ({"kind": "a\nb"}, "assetType"),
    "a kind of spaces": ({"kind": " "}, "assetType"),
    "options of more than 4 KiB": ({"options": options({"a": "x" * 4096})}, "bytes"),
    "options of very much more": ({"options": options({"a": "x" * 40_000})}, "too large"),
    "options with six levels": ({"options": options({"a": {"b": {"c": {"d": {"e": {}}}}}})}, "levels"),
    "options with 257 values": ({"options": options({"a": [0] * 256})}, "values"),
    "options with an infinite number": ({"options": options({"a": float("inf")})}, "infinite"),
    "options with no number": ({"options": options({"a": float("nan")})}, "infinite"),
}


@pytest.mark.changes_nothing
@pytest.mark.parametrize("case", REFUSED)
async def test_a_job_is_refused_with(queue, case):
    fields, sentence = REFUSED[case]
    with pytest.raises(grpc.aio.AioRpcError, match=sentence) as refused:
        await enqueue(queue, 1, **fields)
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_options_at_their_limits_are_taken(queue):
    for number, value in enumerate([{"a": "x" * (4096 - 8)}, {"a": [0] * 255}, {"a": NESTED}, {"\0": "\0"}, {}], 1):
        answer = await enqueue(queue, number, options=options(value))
        assert MessageToDict((await state(queue, answer.job_id)).options) == value


@pytest.mark.changes_nothing
@pytest.mark.parametrize("kinds", [[""], ["x" * 51], ["a\0"], [f"k{number}" for number in range(21)]])
async def test_kinds_of_a_worker_are_bounded(queue, kinds):
    assert await code_of(dequeue(queue, *kinds)) is grpc.StatusCode.INVALID_ARGUMENT
    worker = Worker(queue)
    await worker.send(hello=queue_pb2.StreamJobsRequest.Hello(worker_id="w1", kinds=kinds))
    code, _ = await worker.ends()
    assert code is grpc.StatusCode.INVALID_ARGUMENT
