"""Floods of HTTP/2 frames: a peer that knows the protocol costs bounded memory, and others are served meanwhile."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
import pytest

from tests.support.service.server import running_server
from tests.wire.hostile.hostile import memory
from thumbq.v1.queue_pb2 import EnqueueJobRequest, GetJobRequest
from thumbq.v1.queue_pb2_grpc import QueueServiceStub
from thumbq_server import app

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, CONTINUATION = 0, 1, 3, 4, 6, 7, 9
END_STREAM, END_HEADERS = 1, 4
WINDOW_OF_NOTHING = b"\x00\x04" + bytes(4)
CANCEL = (8).to_bytes(4)
FEW_MIB = 150
LIST_JOBS = b"/thumbq.v1.QueueService/ListJobs"


def frame(kind: int, flags: int, stream: int, content: bytes = b"") -> bytes:
    return len(content).to_bytes(3) + bytes([kind, flags]) + stream.to_bytes(4) + content


def header(name: bytes, value: bytes) -> bytes:
    """A header that is spelled out."""
    return b"\x00" + bytes([len(name)]) + name + bytes([len(value)]) + value


OPENING = b"".join(
    header(name, value)
    for name, value in (
        (b":method", b"POST"),
        (b":scheme", b"http"),
        (b":path", LIST_JOBS),
        (b":authority", b"localhost"),
        (b"te", b"trailers"),
        (b"content-type", b"application/grpc"),
    )
)


def streams(count: int) -> range:
    """The numbers of a client's streams."""
    return range(1, 2 * count, 2)


def resets() -> Iterator[bytes]:
    for stream in streams(5_000):
        yield frame(HEADERS, END_HEADERS, stream, OPENING) + frame(RST_STREAM, 0, stream, CANCEL)


def pings() -> Iterator[bytes]:
    for _ in range(200):
        yield frame(PING, 0, 0, bytes(8)) * 100


def settings() -> Iterator[bytes]:
    for _ in range(200):
        yield frame(SETTINGS, 0, 0, b"\x00\x04\x00\x01\x00\x00") * 100


def headers_without_an_end() -> Iterator[bytes]:
    yield frame(HEADERS, END_STREAM, 1, OPENING)
    for number in range(1_000):
        many = b"".join(header(b"x-%d-%d" % (number, one), b"y" * 100) for one in range(100))
        yield frame(CONTINUATION, 0, 1, many)
    yield frame(CONTINUATION, END_HEADERS, 1)


def calls_whose_answers_nobody_reads() -> Iterator[bytes]:
    yield frame(SETTINGS, 0, 0, WINDOW_OF_NOTHING)
    for stream in streams(500):
        yield frame(HEADERS, END_HEADERS, stream, OPENING) + frame(DATA, END_STREAM, stream, bytes(5))


@dataclass
class Peer:
    """A client of frames, which counts what it is sent."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    frames: Counter[int] = field(default_factory=Counter)
    bytes_of_data: int = 0

    async def read(self) -> None:
        """Read until the server ends the connection."""
        while True:
            try:
                length, kind = (head := await self.reader.readexactly(9))[:3], head[3]
                content = await self.reader.readexactly(int.from_bytes(length))
            except (asyncio.IncompleteReadError, ConnectionError):
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
async def peer(address: str) -> AsyncIterator[Peer]:
    host, _, port = address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(PREFACE + frame(SETTINGS, 0, 0))
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


async def test_floods_of_frames_cost_bounded_memory_and_keep_nobody_from_work(database_url: str) -> None:
    floods: list[Callable[[], Iterator[bytes]]] = [
        *(resets, pings, settings, headers_without_an_end),
        calls_whose_answers_nobody_reads,
    ]
    async with running_server(database_url) as address, grpc.aio.insecure_channel(address) as channel:
        queue = QueueServiceStub(channel)
        await works(queue, 1)
        before = memory()
        for number, flood in enumerate(floods, 2):
            async with peer(address) as hostile:
                sending = asyncio.create_task(hostile.send(flood()))
                await works(queue, 100 * number)
                await asyncio.wait_for(sending, 120)
                await works(queue, 100 * number + 1)
                assert memory() - before < FEW_MIB, flood.__name__
                if flood is calls_whose_answers_nobody_reads:
                    assert hostile.bytes_of_data == 0
        async with grpc.aio.insecure_channel(address) as new_channel:
            await works(QueueServiceStub(new_channel), 1_000)


async def test_a_connection_that_never_begins_is_closed(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    options = dict(app._OPTIONS)
    assert options["grpc.server_handshake_timeout_ms"] < 60_000
    monkeypatch.setattr(app, "_OPTIONS", [*(options | {"grpc.server_handshake_timeout_ms": 500}).items()])
    async with running_server(database_url) as address:
        host, _, port = address.rpartition(":")
        silent = [await asyncio.open_connection(host, int(port)) for _ in range(200)]
        async with grpc.aio.insecure_channel(address) as channel:
            await works(QueueServiceStub(channel), 1)
        async with asyncio.timeout(60):
            for reader, writer in silent:
                await reader.read()
                writer.transport.abort()
