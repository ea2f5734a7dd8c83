"""`thumbq.testing.drain` works a queue dry as a worker would."""

import pytest

from tests.wire.sdk.sdk import PICTURE, enqueue
from thumbq import Client, Job, JobFailed, JobReleased, Thumbnail
from thumbq.testing import drain


async def test_what_is_due_is_worked_and_what_waits_for_a_retry_stays(server: str):
    await enqueue(server, 3)

    async def handler(job: Job) -> Thumbnail:
        if job.model_id == 2:
            raise ValueError("no model")
        return PICTURE

    drained = await drain(server, handler)
    assert [item.job.model_id for item in drained] == [1, 2, 3]
    assert isinstance(drained[1].outcome, ValueError)
    async with Client(server) as client:
        assert [job.status async for job in client.jobs()] == ["Completed", "Pending", "Completed"]
        assert (await client.job(drained[1].job.id)).error_message == "ValueError: no model"
    assert await drain(server, handler) == []


async def test_whatever_a_plain_handler_raises_is_reported_as_by_a_worker(server: str):
    await enqueue(server, 2, max_attempts=1)

    def handler(job: Job) -> Thumbnail:
        if job.model_id == 1:
            raise SystemExit("no such file")
        return next(iter([]))

    drained = await drain(server, handler)
    assert [str(item.outcome) for item in drained] == [
        "the handler raised SystemExit: no such file",
        "the handler raised StopIteration",
    ]


async def test_a_job_that_is_always_released_has_no_end(server: str):
    await enqueue(server, 1)

    def handler(job: Job) -> Thumbnail:
        raise JobReleased

    with pytest.raises(RuntimeError, match="was released, and is due again"):
        await drain(server, handler)


class OwnFailure(JobFailed):
    def __init__(self) -> None:
        """Say nothing to JobFailed."""


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (JobFailed(""), "The handler gave no reason."),
        (JobFailed("caf\udce9.glb"), "caf?.glb"),
        (OwnFailure(), "OwnFailure"),
    ],
    ids=["no reason", "an undecodable name", "a class of the program"],
)
async def test_a_failure_is_reported_as_a_worker_reports_it(server: str, error: JobFailed, message: str):
    await enqueue(server, 1)

    def handler(job: Job) -> Thumbnail:
        raise error

    [drained] = await drain(server, handler)
    async with Client(server) as client:
        assert (await client.job(drained.job.id)).error_message == message


async def test_a_result_that_the_queue_refuses_is_an_error_of_the_test(server: str):
    await enqueue(server, 1)
    with pytest.raises(ValueError, match="the queue refused the result"):
        await drain(server, lambda _: Thumbnail("../a.png", 1, 1, 1))
