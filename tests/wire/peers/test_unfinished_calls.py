"""Peers that begin calls and never send their messages: there are so many on a connection, and others are served."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import grpc
import pytest

from tests.support.service.keys import make_key
from tests.support.service.server import running_server
from tests.support.waiting import eventually
from tests.wire.peers.http2 import (
    ACK,
    END_HEADERS,
    HEADERS,
    RST_STREAM,
    SETTINGS,
    Peer,
    frame,
    opening,
    peer,
    streams,
    works,
)
from thumbq.v1.queue_pb2_grpc import QueueServiceStub
from thumbq_server import app
from thumbq_server.rpc.interceptors import guard

OPENING = opening("/thumbq.v1.QueueService/GetJob")


def beginnings(count: int) -> Iterator[bytes]:
    for stream in streams(count):
        yield frame(HEADERS, END_HEADERS, stream, OPENING)


@asynccontextmanager
async def served_beside(database_url: str) -> AsyncIterator[tuple[Peer, QueueServiceStub]]:
    """A peer that knows the server's settings, and a good client."""
    async with (
        running_server(database_url) as address,
        peer(address) as hostile,
        grpc.aio.insecure_channel(address) as channel,
    ):

        async def knows_the_settings() -> bool:
            return hostile.frames[SETTINGS] > 0

        await eventually(knows_the_settings)
        yield hostile, QueueServiceStub(channel)


async def test_calls_beyond_the_most_of_a_connection_are_refused(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = dict(app._OPTIONS)
    assert options["grpc.max_concurrent_streams"] == 50_000
    monkeypatch.setattr(app, "_OPTIONS", [*(options | {"grpc.max_concurrent_streams": 100}).items()])
    async with served_beside(database_url) as (hostile, queue):
        hostile.writer.write(frame(SETTINGS, ACK, 0))
        await hostile.send(beginnings(1_000))

        async def others_are_refused() -> bool:
            return hostile.frames[RST_STREAM] == 900

        await eventually(others_are_refused)
        await works(queue, 1)


async def test_a_peer_that_never_takes_the_settings_is_cut_off(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = dict(app._OPTIONS)
    assert options["grpc.http2.settings_timeout"] <= 30_000
    monkeypatch.setattr(app, "_OPTIONS", [*(options | {"grpc.http2.settings_timeout": 500}).items()])
    async with served_beside(database_url) as (hostile, queue):
        await hostile.send(beginnings(1_000))

        async def is_cut_off() -> bool:
            return hostile.is_closed

        await eventually(is_cut_off)
        await works(queue, 1)


async def test_a_call_whose_message_does_not_come_is_ended(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert guard.ARRIVES_WITHIN <= 60
    monkeypatch.setattr(guard, "ARRIVES_WITHIN", 1.0)
    async with served_beside(database_url) as (hostile, queue):
        await hostile.send(beginnings(100))

        async def all_are_answered() -> bool:
            return hostile.frames[HEADERS] == 100

        await eventually(all_are_answered)
        await works(queue, 1)


async def test_a_stranger_is_refused_before_its_message_comes(database_url: str) -> None:
    async with running_server(database_url) as address:
        async with grpc.aio.insecure_channel(address) as channel:
            await make_key(channel, "admin")
        async with peer(address) as stranger:
            await stranger.send(beginnings(1))

            async def is_answered() -> bool:
                return stranger.frames[HEADERS] == 1

            await eventually(is_answered)
