"""Floods of HTTP/2 frames: a peer that knows the protocol costs bounded memory, and others are served meanwhile."""

import asyncio
from collections.abc import Callable, Iterator

import grpc
import pytest

from tests.support.service.server import running_server
from tests.wire.hostile.hostile import memory
from tests.wire.peers.http2 import (
    CANCEL,
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    HEADERS,
    PING,
    RST_STREAM,
    SETTINGS,
    WINDOW_OF_NOTHING,
    frame,
    header,
    opening,
    peer,
    streams,
    works,
)
from thumbq.v1.queue_pb2_grpc import QueueServiceStub
from thumbq_server import app

FEW_MIB = 150
OPENING = opening("/thumbq.v1.QueueService/ListJobs")


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
