"""The messages that a client without a WebSocket sends: each request brings some."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import grpc
from aiohttp import web

from thumbq_gateway.http.bodies.body import Bodies
from thumbq_gateway.http.bodies.encodings import refuse_encodings
from thumbq_gateway.http.errors import Refusal
from thumbq_gateway.signalr.protocol import LARGEST_DELIVERY


@asynccontextmanager
async def received(request: web.Request, bodies: Bodies) -> AsyncIterator[str]:
    """Yield the messages in the body of a request, which counts as one that waits until the block ends.

    Raises Refusal, also for a body that does not arrive in time.
    """
    refuse_encodings(request)
    if (request.content_length or 0) > LARGEST_DELIVERY:
        raise _too_large()
    body = bytearray()
    async with bodies.arriving(request) as arrival:
        while piece := await request.content.readany():
            body += piece
            if len(body) > LARGEST_DELIVERY:
                raise _too_large()
            arrival.has(len(body))
        arrival.is_whole()
        yield body.decode(errors="replace")


def _too_large() -> Refusal:
    return Refusal(grpc.StatusCode.INVALID_ARGUMENT, "The messages are too large.", http_status=413)
