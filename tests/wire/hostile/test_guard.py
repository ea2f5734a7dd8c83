"""Nothing unexpected leaks or vanishes: the caller gets a reference, and the log has the rest."""

from typing import Any

import grpc
from structlog.testing import capture_logs

from tests.support.service.server import status_of
from tests.wire.worker import HASH
from thumbq.v1 import notification_pb2, queue_pb2
from thumbq_server.storage.postgres.database import Database


async def test_an_unexpected_error_is_logged_and_the_caller_gets_its_reference_alone(queue, database_url):
    job = await queue.EnqueueJob(queue_pb2.EnqueueJobRequest(model_id=1, model_hash=HASH))
    async with Database(database_url) as database:
        await database.fetch("ALTER VIEW job_records RENAME TO hidden")
        with capture_logs() as lines:
            code, text = await status_of(queue.GetJob(queue_pb2.GetJobRequest(job_id=job.job_id)))
        await database.fetch("ALTER VIEW hidden RENAME TO job_records")
    [line] = [line for line in lines if line["event"] == "call.failed"]
    assert (code, text) == (
        grpc.StatusCode.INTERNAL,
        f"internal error; the server's log has it under {line['reference']}",
    )
    assert line["method"] == "/thumbq.v1.QueueService/GetJob"
    assert "job_records" in str(line["exc_info"])


async def test_a_stream_of_answers_is_guarded_too(notifications, database_url):
    async with Database(database_url) as database:
        await database.fetch("ALTER TABLE queue_head RENAME TO hidden")
        with capture_logs() as lines:
            call = notifications.Subscribe(notification_pb2.SubscribeRequest())
            assert await call.code() is grpc.StatusCode.INTERNAL
        await database.fetch("ALTER TABLE hidden RENAME TO queue_head")
    assert "call.failed" in [line["event"] for line in lines]


async def test_a_method_that_grpcs_own_service_only_declares_is_unimplemented_and_no_failure(channel):
    with capture_logs() as logs:
        listing: Any = channel.unary_unary("/grpc.health.v1.Health/List")
        refused = await status_of(listing(b""))
    assert refused == (grpc.StatusCode.UNIMPLEMENTED, "/grpc.health.v1.Health/List is not implemented")
    assert not [entry for entry in logs if entry["event"] == "call.failed"]
