"""A server on a free port for each test, unless it changes nothing, and channels to it."""

from collections.abc import AsyncIterator

import grpc
import pytest

from tests.support.service.common import common_or_own
from tests.support.service.server import running_server
from thumbq.v1 import admin_pb2_grpc, notification_pb2_grpc, queue_pb2_grpc


@pytest.fixture
def server(request: pytest.FixtureRequest) -> str:
    """host:port of a server."""
    address: str = common_or_own(request, "common_server", "own_server")
    return address


@pytest.fixture
async def own_server(database_url: str) -> AsyncIterator[str]:
    """host:port of a server that this test has for itself."""
    async with running_server(database_url) as address:
        yield address


@pytest.fixture
async def channel(server: str) -> AsyncIterator[grpc.aio.Channel]:
    """A channel to `server`."""
    async with grpc.aio.insecure_channel(server) as channel:
        yield channel


@pytest.fixture
def queue(channel: grpc.aio.Channel) -> "queue_pb2_grpc.QueueServiceAsyncStub":
    """A stub of QueueService."""
    return queue_pb2_grpc.QueueServiceStub(channel)


@pytest.fixture
def notifications(channel: grpc.aio.Channel) -> "notification_pb2_grpc.NotificationServiceAsyncStub":
    """A stub of NotificationService."""
    return notification_pb2_grpc.NotificationServiceStub(channel)


@pytest.fixture
def admin(channel: grpc.aio.Channel) -> "admin_pb2_grpc.AdminServiceAsyncStub":
    """A stub of AdminService."""
    return admin_pb2_grpc.AdminServiceStub(channel)
