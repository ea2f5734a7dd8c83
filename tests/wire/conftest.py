"""A real server on a free port, for each test its own, and channels to it."""

import asyncio
import json
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest

from thumbq.v1 import notification_pb2_grpc, queue_pb2_grpc
from thumbq_server.app import serve
from thumbq_server.settings import Settings


@asynccontextmanager
async def running_server(database_url: str, **settings: Any) -> AsyncIterator[str]:
    """A server in this process until the block ends; yields host:port."""
    readable, writable = os.pipe()
    stop = asyncio.Event()
    chosen = Settings(
        **{"database_url": database_url, "grpc_port": 0, "ready_fd": writable, "shutdown_grace": 2.0, **settings}
    )
    task = asyncio.create_task(serve(chosen, stop))
    line = asyncio.create_task(asyncio.to_thread(os.read, readable, 100))
    await asyncio.wait([task, line], return_when=asyncio.FIRST_COMPLETED)
    if task.done():
        os.close(writable)
        await line
        task.result()
    os.close(readable)
    try:
        yield f"127.0.0.1:{json.loads(line.result())['port']}"
    finally:
        stop.set()
        await task


@pytest.fixture
async def server(database_url: str) -> AsyncIterator[str]:
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


async def status_of(call: Awaitable[Any]) -> tuple[grpc.StatusCode, str]:
    """The code and the text with which a call is refused."""
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await call
    return refused.value.code(), refused.value.details() or ""


async def eventually(check: Callable[[], Awaitable[Any]], timeout: float = 10.0) -> Any:
    """The first true value of `check`, asked again and again; fails after `timeout` seconds."""
    async with asyncio.timeout(timeout):
        while not (value := await check()):
            await asyncio.sleep(0.02)
        return value
