"""An operator looks at the jobs that failed for good, lets them start again, and prunes them."""

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration

from tests.support.service.server import status_of
from tests.wire.operator.test_admin import dequeue, enqueue
from tests.wire.operator.test_operator import fail, stats
from thumbq.v1 import admin_pb2
from thumbq_server.storage.reads import operations


async def dead_letter(queue, model_id, error_message):
    job_id = await enqueue(queue, model_id)
    await fail(queue, await dequeue(queue), error_message, retryable=False)
    return job_id


async def dead_letters(admin, **fields):
    answer = await admin.ListDeadLetters(admin_pb2.ListDeadLettersRequest(**fields))
    return [job.id for job in answer.jobs], answer.next_page_token


async def redrive(admin, **fields):
    return (await admin.RedriveDeadLetters(admin_pb2.RedriveDeadLettersRequest(**fields))).redriven


async def test_dead_letters_are_listed_by_reason_page_by_page(queue, admin):
    textures = [await dead_letter(queue, model_id, f"Texture {model_id} is missing") for model_id in range(1, 4)]
    empty = await dead_letter(queue, 9, "the model is empty")
    await enqueue(queue, 10)
    assert (await dead_letters(admin))[0] == [empty, *reversed(textures)]
    assert (await dead_letters(admin, reason="texture"))[0] == textures[::-1]
    page, token = await dead_letters(admin, reason="texture", page_size=2)
    assert page == textures[:0:-1]
    assert await dead_letters(admin, reason="texture", page_size=2, page_token=token) == (textures[:1], "")


async def test_dead_letters_are_found_behind_jobs_that_were_cancelled(queue, admin, monkeypatch):
    monkeypatch.setattr(operations, "LOOKED_AT", 2)
    dead = await dead_letter(queue, 1, "the model is empty")
    for model_id in range(2, 7):
        await cancelled(queue, admin, model_id)
    assert (await dead_letters(admin))[0] == [dead]
    monkeypatch.setattr(operations, "LOOK_SECONDS", 0)
    nothing, token = await dead_letters(admin)
    assert nothing == []
    assert token


async def test_dead_letters_start_again_by_id_by_reason_and_all(queue, admin):
    first, second, third, fourth = [await dead_letter(queue, number, f"reason {number % 2}") for number in range(4, 8)]
    assert await redrive(admin, job_ids=[first, first, 999]) == 1
    assert await redrive(admin, job_ids=[first]) == 0  # it is alive already
    assert await redrive(admin, reason="REASON 1") == 2
    assert (await dead_letters(admin))[0] == [third]
    assert await redrive(admin, all=True) == 1
    assert (await stats(admin)).pending == 4
    assert sorted([(await dequeue(queue)).id for _ in range(4)]) == [first, second, third, fourth]


@pytest.mark.parametrize("message", ["a\nb", "no\u00a0faces\u202fin it", "x" * 1000, "a\0b"])
async def test_dead_letters_are_found_by_their_whole_error_and_start_again(queue, admin, message):
    job_id = await dead_letter(queue, 1, message)
    assert (await dead_letters(admin, reason=message))[0] == [job_id]
    assert await redrive(admin, reason=message) == 1


async def test_a_filter_that_is_longer_than_any_error_is_refused(admin):
    refusal = (grpc.StatusCode.INVALID_ARGUMENT, "reason must have at most 1000 characters")
    assert await status_of(dead_letters(admin, reason="x" * 1001)) == refusal
    assert await status_of(redrive(admin, reason="x" * 1001)) == refusal


async def test_a_redrive_names_what_it_takes(admin):
    assert (await status_of(redrive(admin)))[0] == grpc.StatusCode.INVALID_ARGUMENT
    assert (await status_of(redrive(admin, job_ids=[1], all=True)))[0] == grpc.StatusCode.INVALID_ARGUMENT


async def cancelled(queue, admin, model_id):
    job_id = await enqueue(queue, model_id)
    await admin.CancelJob(admin_pb2.CancelJobRequest(job_id=job_id))
    return job_id


async def test_pruning_spares_what_ended_lately(queue, admin):
    await dead_letter(queue, 1, "broken")
    answer = await admin.PruneJobs(admin_pb2.PruneJobsRequest(finished_before=Duration(seconds=60)))
    assert answer == admin_pb2.PruneJobsResponse()
    for seconds in (1, 315_576_000_000):  # the longest Duration
        pruning = admin.PruneJobs(admin_pb2.PruneJobsRequest(finished_before=Duration(seconds=seconds)))
        assert (await status_of(pruning)) == (
            grpc.StatusCode.INVALID_ARGUMENT,
            "finishedBefore must be between one minute and 100 years",
        )
    century = admin_pb2.PruneJobsRequest(finished_before=Duration(seconds=3_153_600_000))
    assert await admin.PruneJobs(century) == admin_pb2.PruneJobsResponse()
