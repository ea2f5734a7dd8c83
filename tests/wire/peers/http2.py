"""A client that sends the frames of HTTP/2 one by one, and does of the protocol what a test wants."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from thumbq.v1.queue_pb2 import EnqueueJobRequest, GetJobRequest

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS, PING, CONTINUATION = 0, 1, 3, 4, 6, 9
END_STREAM, END_HEADERS, ACK = 1, 4, 1
WINDOW_OF_NOTHING = b"\x00\x04" + bytes(4)
CANCEL = (8).to_bytes(4)


def frame(kind: int, flags: int, stream: int, content: bytes = b"") -> bytes:
    return len(content).to_bytes(3) + bytes([kind, flags]) + stream.to_bytes(4) + content


def header(name: bytes, value: bytes) -> bytes:
    """A header that is spelled out."""
    return b"\x00" + bytes([len(name)]) + name + bytes([len(value)]) + value


def opening(method: str) -> bytes:
    """The headers of a call to "/package.Service/Method"."""
    return b"".join(
        header(name, value)
        for name, value in (
            (b":method", b"POST"),
            (b":scheme", b"http"),
            (b":path", method.encode()),
            (b":authority", b"localhost"),
            (b"te", b"trailers"),
            (b"content-type", b"application/grpc"),
        )
    )


def call(stream: int, method: str, message: bytes = b"", *, goes_on: bool = False) -> bytes:
    """The frames of a call with one message. `goes_on`: others may follow."""
    body = b"\x00" + len(message).to_bytes(4) + message
    last = 0 if goes_on else END_STREAM
    return frame(HEADERS, END_HEADERS, stream, opening(method)) + frame(DATA, last, stream, body)


def streams(count: int) -> range:
    """The numbers of a client's streams."""
    return range(1, 2 * count, 2)


@dataclass
class Peer:
    """A client of frames, which counts what it is sent. It answers no frame by itself."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    frames: Counter[int] = field(default_factory=Counter)
    bytes_of_data: int = 0
    is_closed: bool = False

    async def read(self) -> None:
        """Read until the server ends the connection."""
        while True:
            try:
                length, kind = (head := await self.reader.readexactly(9))[:3], head[3]
                content = await self.reader.readexactly(int.from_bytes(length))
            except (asyncio.IncompleteReadError, ConnectionError):
                self.is_closed = True
                return
            self.frames[kind] += 1
            self.bytes_of_data += len(content) if kind == DATA else 0

    async def send(self, flood: Iterator[bytes]) -> None:
        """Send all that the server takes."""
        try:
            for some in flood:
                self.writer.write(some)
                await self.writer.drain()
        except ConnectionError:
            return


@asynccontextmanager
async def peer(address: str, settings: bytes = b"") -> AsyncIterator[Peer]:
    """Connect, with these settings of the client."""
    host, _, port = address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(PREFACE + frame(SETTINGS, 0, 0, settings))
    client = Peer(reader, writer)
    reading = asyncio.create_task(client.read())
    try:
        yield client
    finally:
        writer.transport.abort()
        await reading


async def works(queue: Any, model_id: int) -> None:
    """Do what a good client does."""
    async with asyncio.timeout(60):
        answer = await queue.EnqueueJob(EnqueueJobRequest(model_id=model_id, model_hash="a" * 64))
        await queue.GetJob(GetJobRequest(job_id=answer.job_id))
