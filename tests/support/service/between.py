"""A server between a client and the server under test: it notes or changes what passes through it."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import grpc

from thumbq.v1 import queue_pb2_grpc

# Gets a stub of the server behind, and returns the service in front of it.
Between = Callable[[Any], queue_pb2_grpc.QueueServiceServicer]


@asynccontextmanager
async def server_between(behind: str, between: Between) -> AsyncIterator[str]:
    """Run the service as a server of its own, and yield its address."""
    server = grpc.aio.server()
    async with grpc.aio.insecure_channel(behind) as channel:
        service = between(queue_pb2_grpc.QueueServiceStub(channel))
        queue_pb2_grpc.add_QueueServiceServicer_to_server(service, server)
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        try:
            yield f"127.0.0.1:{port}"
        finally:
            await server.stop(None)


@asynccontextmanager
async def refusals_passed_on(context: Any) -> AsyncIterator[None]:
    """End the call as the server behind has ended its call."""
    try:
        yield
    except grpc.aio.AioRpcError as error:
        await context.abort(error.code(), error.details())
