"""Progress on the wire: what GetJob tells, whose progress counts, and what becomes of an odd one."""

import math

import grpc
import pytest

from tests.support.service.server import running_server
from tests.support.waiting import eventually
from tests.wire.sdk.sdk import connected
from tests.wire.worker import Worker, done, enqueue, state
from thumbq.v1 import admin_pb2, admin_pb2_grpc, job_pb2, queue_pb2, queue_pb2_grpc

Progress = queue_pb2.StreamJobsRequest.Progress


def entry(job, fraction, text=""):
    return Progress.Entry(lease_token=job.lease_token, fraction=fraction, text=text)


async def tells(worker, *entries):
    await worker.send(progress=Progress(entries=entries))


async def shows(queue, job_id, fraction):
    """Return the job, as soon as GetJob tells this progress."""

    async def told():
        job = await state(queue, job_id)
        return job if job.HasField("progress") and job.progress == fraction else None

    return await eventually(told)


async def working(queue, count=1, *, columns=False):
    """Return a worker that has this number of jobs."""
    await enqueue(queue, *range(1, count + 1))
    worker = Worker(queue, columns=columns)
    assert (await worker.hello()).progress
    await worker.wants(count)
    return worker, (await worker.receives("jobs")).jobs


@pytest.mark.parametrize("columns", [False, True], ids=["messages", "columns"])
async def test_get_job_tells_how_far_a_job_has_come_until_its_attempt_ends(queue, channel, columns):
    worker, (first, second) = await working(queue, 2, columns=columns)
    assert not (await state(queue, first.id)).HasField("progress")
    await tells(worker, entry(first, 0.25, "reading"), entry(second, 0), entry(first, 0.5, "meshing"))
    shown = await shows(queue, first.id, 0.5)
    assert shown.progress_text == "meshing"
    assert shown.created_at.ToNanoseconds() <= shown.progress_at.ToNanoseconds()
    other = await shows(queue, second.id, 0)
    assert not other.HasField("progress_text")
    explained = await admin_pb2_grpc.AdminServiceStub(channel).ExplainJob(admin_pb2.ExplainJobRequest(job_id=first.id))
    assert (explained.job.progress, explained.job.progress_text) == (0.5, "meshing")
    await worker.reports(1, done(first))
    await worker.receives("result_acks")
    ended = await state(queue, first.id)
    assert ended.status == job_pb2.JOB_STATUS_COMPLETED
    assert not [field.name for field, _ in ended.ListFields() if field.name.startswith("progress")]


async def test_servers_agree(queue, database_url):
    worker, (job,) = await working(queue)
    async with running_server(database_url) as other, grpc.aio.insecure_channel(other) as channel:
        await tells(worker, entry(job, 0.75, "packing"))
        shown = await shows(queue_pb2_grpc.QueueServiceStub(channel), job.id, 0.75)
        assert shown.progress_text == "packing"


async def test_progress_is_a_sign_of_life(queue):
    worker, (job,) = await working(queue)
    delivered = (await state(queue, job.id)).lease_expires_at.ToNanoseconds()
    await tells(worker, entry(job, 0.1))
    shown = await shows(queue, job.id, 0.1)
    # a delivery has 10 s, and a heartbeat gives 30 s
    assert shown.lease_expires_at.ToNanoseconds() - delivered > 10e9


async def test_progress_of_a_lost_lease_is_answered_and_not_shown(queue):
    worker, (stale,) = await working(queue)
    await worker.reports(1, job_pb2.Result(lease_token=stale.lease_token, release=job_pb2.Result.Release()))
    await worker.receives("result_acks")
    await worker.wants(1)
    (job,) = (await worker.receives("jobs")).jobs
    assert job.id == stale.id
    await tells(worker, entry(job, 0.5, "new"))
    await shows(queue, job.id, 0.5)
    await tells(worker, entry(stale, 0.9, "stale"), Progress.Entry(lease_token="no token", fraction=0.9))
    lost = {token for _ in range(2) for token in (await worker.receives("lease_lost")).lease_tokens}
    assert lost == {stale.lease_token, "no token"}
    # what is told after it is shown, and so would the stale one have been
    await tells(worker, entry(job, 0.6, "newer"))
    assert (await shows(queue, job.id, 0.6)).progress_text == "newer"


@pytest.mark.parametrize(("fraction", "kept"), [(1.0000001, 1), (1.01, 1), (math.inf, 1), (-0.01, 0), (-math.inf, 0)])
async def test_of_a_fraction_outside_0_to_1_the_nearer_end_is_kept(queue, fraction, kept):
    worker, (job,) = await working(queue)
    await tells(worker, entry(job, fraction))
    await shows(queue, job.id, kept)


async def test_a_fraction_that_is_no_number_is_left_out(queue):
    worker, (first, second) = await working(queue, 2)
    await tells(worker, entry(first, math.nan), entry(second, 0.5))
    await shows(queue, second.id, 0.5)
    assert not (await state(queue, first.id)).HasField("progress")


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("12\u202f000 faces", "12 000 faces"),
        ("a\nb", "a b"),
        ("\x00", "\ufffd"),
        ("\x1b[2J", "\ufffd[2J"),
        ("\u202e", "\ufffd"),
        ("x" * 201, "x" * 200),
        ("x" * 1_000_000, "x" * 200),
    ],
    ids=["narrow space", "lines", "zero", "escape", "direction", "long", "very long"],
)
async def test_a_text_that_is_long_or_not_printable_is_mended(queue, text, kept):
    worker, (job,) = await working(queue)
    await tells(worker, entry(job, 0.5, text))
    assert (await shows(queue, job.id, 0.5)).progress_text == kept


@pytest.mark.changes_nothing
@pytest.mark.parametrize("count", [10_001, 1_000_000])
async def test_too_many_entries_are_refused(queue, count):
    worker = Worker(queue)
    await worker.hello()
    await tells(worker, *[Progress.Entry()] * count)
    code, why = await worker.ends()
    assert code == grpc.StatusCode.INVALID_ARGUMENT
    assert "at most 10000" in why


async def test_what_is_told_of_ended_leases_is_forgotten(queue, database_url):
    worker, (job,) = await working(queue)
    await tells(worker, entry(job, 0.5))
    await shows(queue, job.id, 0.5)
    await worker.reports(1, done(job))
    await worker.receives("result_acks")

    async with connected(database_url) as database:

        async def is_forgotten():
            return await database.fetchval("SELECT count(*) FROM job_progress") == 0

        await eventually(is_forgotten, 60)
