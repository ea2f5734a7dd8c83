"""A message to a client, which has so long to read it."""

import asyncio
from typing import Any

import grpc
from google.protobuf.message import Message

from thumbq_server.rpc.errors import StreamEnded

# A single message may wait so long for the client to read.
STUCK_SECONDS = 10.0
UNREAD = "the client does not read what it is sent"


async def write(context: Any, message: Message) -> None:
    """Send a message. Raises StreamEnded when the client does not read it."""
    try:
        async with asyncio.timeout(STUCK_SECONDS):
            await context.write(message)
    except TimeoutError:
        raise StreamEnded(grpc.StatusCode.ABORTED, UNREAD) from None
