"""Sends one message, with a time limit for the client to read it."""

import asyncio
from typing import Any

import grpc
from google.protobuf.message import Message

from thumbq_server.rpc.errors import StreamEnded

# Seconds in which a client must read a message.
STUCK_SECONDS = 10.0
UNREAD = "the client does not read what it is sent"


async def write(context: Any, message: Message) -> None:
    """Send a message. Raises StreamEnded when the client does not read it."""
    try:
        async with asyncio.timeout(STUCK_SECONDS):
            await context.write(message)
    except TimeoutError:
        raise StreamEnded(grpc.StatusCode.ABORTED, UNREAD) from None
