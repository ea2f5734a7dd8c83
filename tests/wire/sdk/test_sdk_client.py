"""The client for applications against a real server."""

import asyncio
import hashlib
import pickle
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import monotonic
from typing import Any

import grpc
import pytest

from tests.support.network.line import Line
from tests.support.service.between import server_between
from tests.wire.sdk.sdk import PICTURE, working
from thumbq import (
    Client,
    Conflict,
    InvalidJob,
    InvalidRequest,
    Job,
    JobFailed,
    NotFound,
    Request,
    Thumbnail,
    ThumbqError,
    Unavailable,
    Unsuccessful,
    hash_file,
)
from thumbq.client import calls
from thumbq.v1 import queue_pb2, queue_pb2_grpc

DIGEST = hashlib.sha256(b"model").digest()


async def complete(job: Job) -> Thumbnail:
    if job.model_id == 13:
        raise JobFailed("no such model", retryable=False)
    return PICTURE


async def test_an_application_asks_for_a_picture_and_waits_for_it(server: str, tmp_path: Path):
    file = tmp_path / "7.glb"
    file.write_bytes(b"model")
    async with Client(server) as client, working(server, complete):
        answer = await client.enqueue(7, hash_file(file), priority=9, max_attempts=1)
        assert answer.outcome == "Created"
        picture = await client.wait_for(answer.job_id, timeout=timedelta(seconds=60))
        assert (picture.status, picture.path, picture.width) == ("Ready", PICTURE.path, PICTURE.width)
        assert picture.url
        assert picture.url.startswith("/models/7/thumbnail/file")
        assert picture.model_hash == DIGEST.hex()
        job = await client.job(answer.job_id)
        with pytest.raises(Conflict):
            await client.cancel(answer.job_id)
    assert (job.status, job.ended, job.priority, job.max_attempts) == ("Completed", True, 9, 1)
    assert job.finished_at
    assert job.created_at.tzinfo is UTC
    assert job.created_at <= job.finished_at


async def test_waiting_ends_with_what_went_wrong(server: str):
    async with Client(server) as client:
        waiting = await client.enqueue(1, DIGEST)
        with pytest.raises(TimeoutError, match=f"job {waiting.job_id} is still Pending after 0.05 s"):
            await client.wait_for(waiting.job_id, timeout=0.05)
        async with working(server, complete):
            failing = await client.enqueue(13, DIGEST)
            with pytest.raises(Unsuccessful, match="no such model") as failed:
                await client.wait_for(failing.job_id, timeout=60)
        assert (failed.value.job_id, failed.value.status) == (failing.job_id, "Failed")
        with pytest.raises(NotFound, match="999"):
            await client.wait_for(999)


async def test_many_are_enqueued_with_progress_and_listed(server: str):
    counts: list[int] = []
    async with Client(server) as client:
        requests = (Request(model_id=number, model_hash=DIGEST) for number in range(1, 10_003))
        answers = await client.enqueue_many(requests, progress=counts.append)
        assert counts == [10_000, 10_002]
        assert len({answer.job_id for answer in answers}) == 10_002
        (only,) = [job async for job in client.jobs(model_id=10_002, status="Pending")]
    assert only.id == answers[-1].job_id


async def test_a_delay_is_seconds_or_a_timedelta(server: str):
    async with Client(server) as client:
        delays: tuple[float | timedelta, ...] = (3600.0, timedelta(hours=1))
        for number, delay in enumerate(delays, 1):
            job = await client.job((await client.enqueue(number, DIGEST, delay=delay)).job_id)
            assert job.run_at
            assert timedelta(minutes=59) < job.run_at - datetime.now(UTC) <= timedelta(hours=1)


async def test_jobs_are_cancelled_and_retried(server: str):
    async with Client(server) as client:
        job_id = (await client.enqueue(7, DIGEST)).job_id
        assert (await client.cancel(job_id)).status == "Cancelled"
        assert (await client.cancel(job_id)).status == "Cancelled"
        assert (await client.retry(job_id)).status == "Pending"
        assert await client.cancel_model(7) == [job_id]
        assert await client.cancel_model(7) == []


async def test_a_job_has_a_log_and_the_log_of_notifications_a_cursor(server: str):
    async with Client(server) as client:
        job_id = (await client.enqueue(7, DIGEST)).job_id
        before = await client.cursor()
        await client.log_event(job_id, "Meshing", "half of it")
        (event,) = await client.job_events(job_id)
        assert (event.event_type, event.message, event.error_message) == ("Meshing", "half of it", None)
        await client.announce_test(7, "Ready", "/a.png")
        assert await client.cursor() > before
        assert (await client.thumbnail(7)).status == "Pending"
        assert (await client.thumbnail(8)).status == "None"


@pytest.mark.parametrize("model_hash", ["", "abc", "g" * 64, b"short", None, "\udcff" * 64, 7])
async def test_a_bad_hash_is_refused_in_words_of_the_caller(server: str, model_hash: str):
    async with Client(server) as client:
        with pytest.raises(InvalidJob, match="model 7: model_hash must be 64 hexadecimal digits, or 32 bytes"):
            await client.enqueue(7, model_hash)


async def test_what_the_server_refuses_is_named_and_no_retry_is_advised(server: str):
    async with Client(server) as client:
        with pytest.raises(InvalidJob) as refused:
            await client.enqueue(7, DIGEST, priority=10)
        assert not refused.value.retryable
        with pytest.raises(InvalidJob):
            await client.enqueue(2**63, DIGEST)
        with pytest.raises(InvalidRequest):
            await client.announce_test(0, "Ready")


async def test_what_can_be_no_id_and_no_status_is_refused_by_the_client(server: str):
    async with Client(server) as client:
        for call in (
            client.job(2**63),
            client.cancel(-(2**63) - 1),
            client.thumbnail(10**30),
            client.thumbnails([1, 2**63]),
            client.create_ticket([2**63]),
            client.log_event(1, "Note", "\udcff"),
        ):
            with pytest.raises(InvalidRequest):
                await call
        with pytest.raises(InvalidRequest, match="Paused is no status of a job: there are Pending, "):
            await anext(client.jobs(status="Paused"))  # type: ignore[arg-type]
        with pytest.raises(InvalidRequest, match="Paused is no status of a thumbnail: there are None, "):
            await client.announce_test(1, "Paused")  # type: ignore[arg-type]


def test_an_exception_goes_through_a_pipe_whole():
    error = Unsuccessful("no such model", 7, "Failed")
    copy = pickle.loads(pickle.dumps(error))
    assert (str(copy), copy.job_id, copy.status, type(copy)) == ("no such model", 7, "Failed", Unsuccessful)


async def test_a_server_that_is_away_is_waited_for_and_then_named(unused_tcp_port: int):
    async with Client(f"127.0.0.1:{unused_tcp_port}", timeout=0.3) as client:
        with pytest.raises(Unavailable, match=f"127.0.0.1:{unused_tcp_port}: ") as away:
            await client.thumbnail(7)
    assert away.value.retryable
    assert isinstance(away.value, ThumbqError)


async def test_a_wait_outlasts_a_connection_that_breaks_late(server: str, monkeypatch: pytest.MonkeyPatch):
    async with Line.to(int(server.rpartition(":")[2])) as line, Client(f"127.0.0.1:{line.port}", timeout=3) as client:
        answer = await client.enqueue(7, DIGEST)
        waiting = asyncio.create_task(client.wait_for(answer.job_id, timeout=60))
        await asyncio.sleep(0)  # the wait begins
        await client.cursor()  # it has reached the server
        # longer than the client tries to reach a server
        monkeypatch.setattr(calls, "monotonic", lambda: monotonic() + 4)
        line.go_dead()
        line.mend()
        async with working(server, complete):
            assert (await waiting).status == "Ready"


async def test_after_an_outage_the_rest_of_a_wait_is_waited_for(server: str):
    waits: list[float] = []

    class Between(queue_pb2_grpc.QueueServiceServicer):
        """A server that is away for the first attempt."""

        def __init__(self, stub: Any) -> None:
            self._stub = stub

        async def GetJob(self, request: queue_pb2.GetJobRequest, context: Any) -> Any:  # noqa: N802
            waits.append(request.wait.ToTimedelta().total_seconds())
            if len(waits) == 1:
                await context.abort(grpc.StatusCode.UNAVAILABLE, "the server goes away")
            return await self._stub.GetJob(queue_pb2.GetJobRequest(job_id=request.job_id))

    async with Client(server) as client, server_between(server, Between) as between, Client(between) as waiting:
        job_id = (await client.enqueue(7, DIGEST)).job_id
        await client.cancel(job_id)
        assert (await waiting.job(job_id, wait=20)).status == "Cancelled"
    first, second = waits
    assert first == 20
    assert 0 < second < 20


async def test_a_client_outside_its_block_says_so_and_enqueues_nothing_later(server: str):
    client = Client(server)
    for call in (client.thumbnail(7), client.enqueue(7, DIGEST)):
        with pytest.raises(RuntimeError, match="use it inside `async with`"):
            await call
    async with client:
        await client.enqueue(8, DIGEST)
        assert [job.model_id async for job in client.jobs()] == [8]
