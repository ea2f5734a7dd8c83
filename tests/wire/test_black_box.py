"""The server as a program, seen by gRPC's own synchronous client: no code of ours but the protocol's.

The fixtures `grpc_channel` and `grpc_stub` are those of pytest-grpc.
"""

import json
import os
import queue
import subprocess
import sys
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import asyncpg
import grpc
import pytest
from google.protobuf.duration_pb2 import Duration

from tests.support.postgres.databases import database_at, for_programs
from tests.wire.worker import HASH, PICTURE
from thumbq.v1 import job_pb2, notification_pb2, notification_pb2_grpc, queue_pb2, queue_pb2_grpc

Stub = Any  # grpc's stubs of a synchronous channel are untyped


@pytest.fixture(scope="module")
async def module_database(postgres: str, migrated_template: str) -> AsyncIterator[str]:
    """The DSN of a database for the tests of this module together; each uses models of its own."""
    name = f"thumbq_test_{uuid.uuid4().hex[:12]}"
    connection = await asyncpg.connect(postgres)
    await connection.execute(f"CREATE DATABASE {name} TEMPLATE {migrated_template}")
    yield database_at(postgres, name)
    await connection.execute(f"DROP DATABASE {name} WITH (FORCE)")
    await connection.close()


@pytest.fixture(scope="module")
def grpc_addr(module_database: str) -> Iterator[str]:
    """The address of a server process."""
    readable, writable = os.pipe()
    variables = {**for_programs(module_database), "THUMBQ_GRPC_PORT": "0", "THUMBQ_READY_FD": str(writable)}
    process = subprocess.Popen([sys.executable, "-m", "thumbq_server"], env=os.environ | variables, pass_fds=[writable])
    os.close(writable)
    try:
        yield f"127.0.0.1:{json.loads(os.read(readable, 100))['port']}"
    finally:
        os.close(readable)
        process.terminate()
        assert process.wait(60) == 0


@pytest.fixture(scope="module")
def grpc_server(grpc_addr: str) -> str:
    """The server that pytest-grpc would otherwise start in this process."""
    return grpc_addr


@pytest.fixture(scope="module")
def grpc_stub_cls() -> type:
    return queue_pb2_grpc.QueueServiceStub


@pytest.fixture
def model_id() -> int:
    return uuid.uuid4().int % 1_000_000_000 + 1


def enqueue(stub: Stub, model_id: int, **fields: Any) -> int:
    request = queue_pb2.EnqueueJobRequest(model_id=model_id, model_hash=HASH, **fields)
    job_id: int = stub.EnqueueJob(request).job_id
    return job_id


def read(stub: Stub, job_id: int) -> job_pb2.Job:
    job: job_pb2.Job = stub.GetJob(queue_pb2.GetJobRequest(job_id=job_id)).job
    return job


def refusal(call: Callable[[], object]) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.RpcError) as refused:
        call()
    return refused.value.code(), refused.value.details() or ""


def test_a_job_goes_from_its_producer_to_a_worker_and_back(grpc_stub: Stub, model_id: int):
    job_id = enqueue(grpc_stub, model_id, priority=9)
    job = grpc_stub.DequeueJob(queue_pb2.DequeueJobRequest(worker_id="w1", wait=Duration(seconds=30))).job
    assert (job.id, job.attempt_count, job.model_hash) == (job_id, 1, HASH)
    grpc_stub.CompleteJob(
        queue_pb2.CompleteJobRequest(
            job_id=job.id, lease_token=job.lease_token, thumbnail_path="/a.png", size_bytes=1, width=2, height=3
        )
    )
    assert read(grpc_stub, job_id).status == job_pb2.JOB_STATUS_COMPLETED


def test_twenty_requests_at_once_are_one_job(grpc_stub: Stub, model_id: int):
    request = queue_pb2.EnqueueJobRequest(model_id=model_id, model_hash=HASH, delay=Duration(seconds=60))
    calls = [grpc_stub.EnqueueJob.future(request) for _ in range(20)]
    answers = [call.result(timeout=60) for call in calls]
    assert len({answer.job_id for answer in answers}) == 1
    created = [answer for answer in answers if answer.outcome == queue_pb2.ENQUEUE_OUTCOME_CREATED]
    assert len(created) == 1


def test_errors_have_a_status_and_a_sentence(grpc_stub: Stub, model_id: int):
    missing = refusal(lambda: read(grpc_stub, 2**62))
    assert missing[0] is grpc.StatusCode.NOT_FOUND
    bad = refusal(lambda: grpc_stub.EnqueueJob(queue_pb2.EnqueueJobRequest(model_id=model_id, model_hash="abc")))
    assert bad[0] is grpc.StatusCode.INVALID_ARGUMENT
    assert "64" in bad[1]


def test_a_deadline_ends_a_call_that_waits(grpc_stub: Stub, model_id: int):
    job_id = enqueue(grpc_stub, model_id, delay=Duration(seconds=60))
    request = queue_pb2.GetJobRequest(job_id=job_id, wait=Duration(seconds=30))
    late = refusal(lambda: grpc_stub.GetJob(request, timeout=0.2))
    assert late[0] is grpc.StatusCode.DEADLINE_EXCEEDED


def test_a_worker_streams(grpc_stub: Stub, model_id: int):
    job_id = enqueue(grpc_stub, model_id, priority=9)
    sent: queue.SimpleQueue[queue_pb2.StreamJobsRequest | None] = queue.SimpleQueue()
    received = grpc_stub.StreamJobs(iter(sent.get, None))

    def receive(kind: str) -> Any:
        message = next(message for message in received if message.WhichOneof("message") != "keepalive")
        assert message.WhichOneof("message") == kind
        return getattr(message, kind)

    sent.put(queue_pb2.StreamJobsRequest(hello=queue_pb2.StreamJobsRequest.Hello(worker_id="w1")))
    assert receive("welcome").session_id
    sent.put(queue_pb2.StreamJobsRequest(credit=queue_pb2.StreamJobsRequest.Credit(add=1)))
    (job,) = receive("jobs").jobs
    assert job.id == job_id
    result = job_pb2.Result(lease_token=job.lease_token, complete=PICTURE)
    sent.put(queue_pb2.StreamJobsRequest(results=queue_pb2.StreamJobsRequest.Results(number=1, results=[result])))
    assert not receive("result_acks").exceptions
    sent.put(None)
    assert received.code() is grpc.StatusCode.OK


def test_a_subscriber_hears_of_a_job(grpc_channel: grpc.Channel, grpc_stub: Stub, model_id: int):
    notifications: Stub = notification_pb2_grpc.NotificationServiceStub(grpc_channel)
    cursor = notifications.GetNotificationCursor(notification_pb2.GetNotificationCursorRequest()).cursor
    job_id = enqueue(grpc_stub, model_id, delay=Duration(seconds=60))
    call = notifications.Subscribe(notification_pb2.SubscribeRequest(model_ids=[model_id], after=cursor))
    notification = next(item for response in call for item in response.notifications)
    assert (notification.job_id, notification.status) == (job_id, job_pb2.THUMBNAIL_STATUS_PENDING)
    call.cancel()
