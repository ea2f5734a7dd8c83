"""CallTogether: calls of many callers in one message, each with the answer that it would have alone."""

import asyncio
from typing import Any

import asyncpg
import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from structlog.testing import capture_logs

from tests.support.postgres.invariants import assert_sound
from tests.support.service.server import status_of
from tests.support.waiting import eventually
from tests.wire.worker import HASH
from thumbq.v1 import job_pb2, queue_pb2
from thumbq_server.domain.paths import PathRule
from thumbq_server.domain.retry import RetryPolicy
from thumbq_server.engine.queue import Queue
from thumbq_server.rpc.calls.single import SingleCalls
from thumbq_server.rpc.calls.together import Together
from thumbq_server.storage.postgres.database import Database

Call = queue_pb2.CallTogetherRequest.Call
CREATED, RESET = queue_pb2.ENQUEUE_OUTCOME_CREATED, queue_pb2.ENQUEUE_OUTCOME_RESET
_BLOCKED = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
INVALID, NOT_FOUND, WRONG_STATE, INTERNAL = (
    code.value[0]
    for code in (
        grpc.StatusCode.INVALID_ARGUMENT,
        grpc.StatusCode.NOT_FOUND,
        grpc.StatusCode.FAILED_PRECONDITION,
        grpc.StatusCode.INTERNAL,
    )
)


def enqueue(model_id: int, **fields: Any) -> Call:
    return Call(enqueue_job=queue_pb2.EnqueueJobRequest(model_id=model_id, **{"model_hash": HASH, **fields}))


def dequeue(worker_id: str, **fields: Any) -> Call:
    return Call(dequeue_job=queue_pb2.DequeueJobRequest(worker_id=worker_id, **fields))


def complete(job: job_pb2.Job, **fields: Any) -> Call:
    picture = {"thumbnail_path": "/thumbs/a.png", "size_bytes": 1, "width": 2, "height": 3}
    return Call(complete_job=queue_pb2.CompleteJobRequest(job_id=job.id, **{**picture, **fields}))


def fail(job_id: int, message: str = "no triangles", **fields: Any) -> Call:
    return Call(fail_job=queue_pb2.FailJobRequest(job_id=job_id, error_message=message, **fields))


async def together(queue: Any, *calls: Call) -> list[queue_pb2.CallTogetherResponse.Answer]:
    return list((await queue.CallTogether(queue_pb2.CallTogetherRequest(calls=calls))).answers)


async def test_calls_are_answered_in_their_order(queue):
    answers = await together(queue, *[enqueue(model_id) for model_id in (3, 1, 3, 2)])
    assert [answer.enqueue_job.outcome for answer in answers] == [1, 1, 2, 1]
    ids = [answer.enqueue_job.job_id for answer in answers]
    assert ids[0] == ids[2]
    assert len(set(ids)) == 3

    claimed = await together(queue, *[dequeue(f"w{number}") for number in range(4)])
    assert [answer.WhichOneof("answer") for answer in claimed] == ["dequeue_job"] * 4
    jobs = [answer.dequeue_job.job for answer in claimed if answer.dequeue_job.HasField("job")]
    assert sorted(job.model_id for job in jobs) == [1, 2, 3]

    ended = await together(queue, complete(jobs[1]), fail(jobs[0].id), complete(jobs[2]))
    assert [answer.WhichOneof("answer") for answer in ended] == ["complete_job", "fail_job", "complete_job"]
    reported = [answer.complete_job.model_id or answer.fail_job.model_id for answer in ended]
    assert reported == [jobs[1].model_id, jobs[0].model_id, jobs[2].model_id]


async def test_each_worker_holds_the_job_that_it_was_given(queue):
    await together(queue, enqueue(1), enqueue(2))
    claimed = await together(queue, dequeue("one"), dequeue("two"))
    for answer, worker_id in zip(claimed, ("one", "two"), strict=True):
        job = (await queue.GetJob(queue_pb2.GetJobRequest(job_id=answer.dequeue_job.job.id))).job
        assert job.worker_id == worker_id


async def test_a_call_that_is_refused_harms_no_other_and_says_what_it_says_alone(queue):
    await together(queue, enqueue(1), enqueue(2))
    held = (await together(queue, dequeue("w")))[0].dequeue_job.job
    answers = await together(
        queue,
        enqueue(3),
        enqueue(0),
        enqueue(4, model_hash="ab"),
        dequeue(" "),
        dequeue("w"),
        complete(job_pb2.Job(id=999)),
        complete(held, thumbnail_path=""),
        complete(held, lease_token="x"),
        complete(held),
        fail(999),
        fail(held.id, " "),
        Call(),
        dequeue("w", wait=Duration(seconds=1)),
    )
    refused = [(answer.error.code, answer.error.message) for answer in answers if answer.HasField("error")]
    assert refused == [
        (INVALID, "modelId must be a positive integer"),
        (INVALID, "modelHash must be a SHA-256 in 64 hexadecimal digits"),
        (INVALID, "WorkerId is required"),
        (NOT_FOUND, "Thumbnail job with ID 999 was not found."),
        (INVALID, "thumbnailPath is required"),
        (INVALID, "leaseToken is malformed"),
        (NOT_FOUND, "Thumbnail job with ID 999 was not found."),
        (INVALID, "Error message cannot be null or empty."),
        (INVALID, "a call needs enqueueJob, dequeueJob, completeJob or failJob"),
        (INVALID, "wait must not be set in a call with others"),
    ]
    assert answers[0].enqueue_job.job_id
    assert answers[4].dequeue_job.job.model_id == 2
    assert answers[8].complete_job.model_id == 1


async def test_two_requests_for_one_job_have_the_effects_that_they_have_alone(queue):
    first, second = await together(queue, enqueue(1), enqueue(1, kind="Sound"))
    assert (first.enqueue_job.outcome, second.enqueue_job.outcome) == (CREATED, RESET)
    assert not (await together(queue, dequeue("w")))[0].dequeue_job.HasField("job")
    held = (await together(queue, dequeue("w", kinds=["Sound"])))[0].dequeue_job.job
    assert (held.id, held.asset_type) == (first.enqueue_job.job_id, "Sound")


async def test_the_first_of_two_reports_of_one_job_is_taken(queue):
    await together(queue, enqueue(1))
    held = (await together(queue, dequeue("w")))[0].dequeue_job.job
    first, second = await together(queue, complete(held), complete(held))
    assert first.complete_job.model_id == 1
    assert (second.error.code, second.error.message) == (WRONG_STATE, "Job is not in processing state.")


async def test_versions_are_named_in_the_answers(queue):
    await together(queue, enqueue(1, model_version_id=7), enqueue(2))
    claimed = [answer.dequeue_job.job for answer in await together(queue, dequeue("w"), dequeue("w"))]
    one, two = sorted(claimed, key=lambda job: job.model_id)
    assert (one.model_version_id, two.HasField("model_version_id")) == (7, False)
    completed, failed = await together(queue, complete(one), fail(two.id))
    assert completed.complete_job.model_version_id == 7
    assert not failed.fail_job.HasField("model_version_id")


@pytest.mark.changes_nothing
@pytest.mark.parametrize(("count", "problem"), [(0, "must not be empty"), (1_001, "has 1001 items")])
async def test_a_message_has_one_to_a_thousand_calls(queue, count, problem):
    code, text = await status_of(together(queue, *[dequeue("w")] * count))
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert f"calls {problem}" in text
    assert len(await together(queue, *[dequeue("w")] * 1_000)) == 1_000


async def test_an_unexpected_error_belongs_to_its_call_and_has_a_reference(queue, database_url):
    async with Database(database_url) as database:
        await database.fetch("ALTER TABLE attempts RENAME TO hidden")
        with capture_logs() as lines:
            reported, enqueued = await together(queue, complete(job_pb2.Job(id=1)), enqueue(1))
        await database.fetch("ALTER TABLE hidden RENAME TO attempts")
    [line] = [line for line in lines if line["event"] == "call.failed"]
    assert reported.error.code == INTERNAL
    assert reported.error.message == f"internal error; the server's log has it under {line['reference']}"
    assert enqueued.enqueue_job.job_id


async def test_jobs_of_callers_who_are_gone_are_given_back_unspent(queue, database_url):
    """The answers are ready but for one, which a lock holds up, when the caller hangs up."""
    await together(queue, *[enqueue(model_id) for model_id in range(1, 9)])
    held = (await together(queue, dequeue("w")))[0].dequeue_job.job
    locker = await asyncpg.connect(database_url)
    async with Database(database_url) as database:

        async def processing() -> bool:
            (row,) = await database.fetch("SELECT count(*) AS leases FROM leases")
            return bool(row["leases"] == 6)

        async with locker.transaction():
            await locker.execute("SELECT * FROM leases FOR UPDATE")
            calls = [complete(held), *[dequeue(f"w{number}") for number in range(5)]]
            call = queue.CallTogether(queue_pb2.CallTogetherRequest(calls=calls))
            await eventually(processing)
            call.cancel()

        async def back() -> bool:
            (row,) = await database.fetch("SELECT count(*) AS ready FROM ready WHERE attempt = 0")
            return bool(row["ready"] == 7)

        await eventually(back)
        with pytest.raises(asyncio.CancelledError):
            await call
        await assert_sound(database)
    await locker.close()


async def test_every_call_has_ended_when_their_callers_are_gone(database_url):
    """A claim that waits for a lock takes a moment to end, and may bring a job then. A report ends at once."""
    request = queue_pb2.CallTogetherRequest(calls=[complete(job_pb2.Job(id=1)), dequeue("new")])
    locker = await asyncpg.connect(database_url)
    async with Database(database_url) as database:
        queue = Queue(database, policy=RetryPolicy(), unary_lease_seconds=600)

        # not the locker: a transaction sees pg_stat_activity as it was at its first look
        async def blocked() -> bool:
            ((count,),) = await database.fetch(_BLOCKED)
            return bool(count == 2)

        await locker.execute("BEGIN; LOCK TABLE leases, workers")
        answering = asyncio.create_task(Together(SingleCalls(queue, PathRule())).answer(request))
        await eventually(blocked)
        answering.cancel()
        with pytest.raises(asyncio.CancelledError):
            await answering
        await locker.close()
        await queue.drained()
