"""A real server in this process, and how it refuses a call."""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest

from tests.support.postgres.databases import around_pooler
from thumbq_runtime.process.lifecycle import announced_port
from thumbq_server.app import serve
from thumbq_server.settings import Settings


@asynccontextmanager
async def running_server(database_url: str, **settings: Any) -> AsyncIterator[str]:
    """Run a server until the block ends. Yield its host:port."""
    readable, writable = os.pipe()
    stop = asyncio.Event()
    chosen = Settings(
        **{
            "database_url": database_url,
            "listen_url": around_pooler(database_url),
            "grpc_port": 0,
            "ready_fd": writable,
            "shutdown_grace": 2.0,
            **settings,
        }
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
        yield f"127.0.0.1:{announced_port(line.result())}"
    finally:
        stop.set()
        await task


async def status_of(call: Awaitable[Any]) -> tuple[grpc.StatusCode, str]:
    """Return the code and the text with which a call is refused."""
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await call
    return refused.value.code(), refused.value.details() or ""
