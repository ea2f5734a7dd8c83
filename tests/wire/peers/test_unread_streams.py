"""Peers that open a stream and do not read it, or are gone: what they had is free again."""

from contextlib import suppress
from typing import Any

import grpc
import pytest
from grpc_health.v1.health_pb2 import HealthCheckRequest

from tests.support.service.server import running_server
from tests.support.waiting import eventually
from tests.wire.hostile.test_rates import COUNTED
from tests.wire.peers.http2 import HEADERS, WINDOW_OF_NOTHING, call, peer
from thumbq.v1.notification_pb2 import SubscribeRequest, WatchQueueRequest
from thumbq.v1.notification_pb2_grpc import NotificationServiceStub
from thumbq.v1.queue_pb2 import EnqueueStreamRequest, NewJob, StreamJobsRequest
from thumbq_server import app
from thumbq_server.rpc.streaming import writing

ONE_STREAM = COUNTED | {"streams_of_address": 1}
SUBSCRIBE = "/thumbq.v1.NotificationService/Subscribe"
STREAMS = {
    SUBSCRIBE: SubscribeRequest(),
    "/thumbq.v1.NotificationService/WatchQueue": WatchQueueRequest(),
    "/thumbq.v1.QueueService/StreamJobs": StreamJobsRequest(hello=StreamJobsRequest.Hello(worker_id="worker-001")),
    "/thumbq.v1.QueueService/EnqueueStream": EnqueueStreamRequest(
        number=1, jobs=[NewJob(model_id=1, model_hash="a" * 64)]
    ),
    "/grpc.health.v1.Health/Watch": HealthCheckRequest(),
}


async def until_there_is_room(address: str) -> None:
    """Wait until the only stream that this address may have is free."""

    async def there_is_room() -> bool:
        stream: Any = NotificationServiceStub(channel).Subscribe(SubscribeRequest())
        with suppress(grpc.aio.AioRpcError):
            return bool((await stream.read()).cursor)
        return False

    async with grpc.aio.insecure_channel(address) as channel:
        await eventually(there_is_room)


@pytest.mark.parametrize("method", STREAMS, ids=lambda method: method.rpartition("/")[2])
async def test_a_peer_that_does_not_read_its_stream_loses_its_place(
    database_url: str, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    assert writing.STUCK_SECONDS <= 10
    monkeypatch.setattr(writing, "STUCK_SECONDS", 1.0)
    async with running_server(database_url, **ONE_STREAM) as address, peer(address, WINDOW_OF_NOTHING) as silent:
        goes_on = method.startswith("/thumbq.v1.QueueService/")
        silent.writer.write(call(1, method, STREAMS[method].SerializeToString(), goes_on=goes_on))

        async def has_its_place() -> bool:
            return silent.frames[HEADERS] > 0

        await eventually(has_its_place)
        await until_there_is_room(address)
        assert silent.bytes_of_data == 0


async def test_a_peer_that_answers_no_ping_is_gone(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    options = dict(app._OPTIONS)
    assert options["grpc.keepalive_time_ms"] + options["grpc.keepalive_timeout_ms"] <= 60_000
    soon = {"grpc.keepalive_time_ms": 1_000, "grpc.keepalive_timeout_ms": 500}
    monkeypatch.setattr(app, "_OPTIONS", [*(options | soon).items()])
    async with running_server(database_url, **ONE_STREAM) as address, peer(address) as vanished:
        vanished.writer.write(call(1, SUBSCRIBE))

        async def has_its_place() -> bool:
            return vanished.bytes_of_data > 0

        await eventually(has_its_place)
        await until_there_is_room(address)
        assert vanished.is_closed
