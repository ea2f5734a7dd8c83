"""Sending a case to the service, as the client that it describes."""

import asyncio
import contextlib
import re
from typing import Any, NamedTuple

import grpc

from tests.fuzz.case import Answer, Case, Channel, Ending

_STATUS_LINE = re.compile(rb"^HTTP/1\.[01] (\d{3})", re.MULTILINE)
_KEPT = 4000
# Seconds: for an answer, after the first piece of it, for a stream that goes on, and for a whole case.
_ANSWER, _MORE, _LINGER, _CASE = 2.0, 0.03, 0.4, 12.0
_OPTIONS = [
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.enable_http_proxy", 0),
]


class Addresses(NamedTuple):
    """The ports of the service on this machine."""

    http: int
    grpc: int


async def play(case: Case, addresses: Addresses) -> Answer:
    """Send the case, and return the answer. The empty status means that there was none."""
    try:
        async with asyncio.timeout(_CASE):
            match case.channel:
                case Channel.HTTP:
                    return await _write(case, addresses.http)
                case Channel.SOCKET:
                    await _write(case, addresses.grpc)
                    return Answer("")
                case Channel.UNARY:
                    return await _call(case, addresses.grpc)
                case Channel.STREAM:
                    return await _stream(case, addresses.grpc)
    except (OSError, TimeoutError) as error:
        return Answer("", type(error).__name__)


async def _write(case: Case, port: int) -> Answer:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    received = bytearray()
    try:
        with contextlib.suppress(ConnectionError):
            for piece in case.pieces:
                writer.write(piece)
                await writer.drain()
            if case.ending is Ending.HALF_CLOSE:
                writer.write_eof()
        if case.ending is not Ending.HANG_UP and case.reads:
            await _read(reader, received)
        elif not case.reads:
            await asyncio.sleep(_LINGER)
    finally:
        writer.transport.abort()
    statuses = [status.decode() for status in _STATUS_LINE.findall(received)]
    return Answer(max(statuses, default=""), received[:_KEPT].decode("latin-1"))


async def _read(reader: asyncio.StreamReader, received: bytearray) -> None:
    loop = asyncio.get_running_loop()
    end = loop.time() + _ANSWER
    with contextlib.suppress(TimeoutError, ConnectionError):
        while loop.time() < end:
            async with asyncio.timeout(_MORE if received else _ANSWER):
                piece = await reader.read(65_536)
            if not piece:
                return
            received += piece


async def _call(case: Case, port: int) -> Answer:
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=_OPTIONS) as channel:
        try:
            call: Any = channel.unary_unary(case.target)
            await call(case.pieces[0], timeout=_ANSWER)
        except grpc.aio.AioRpcError as error:
            return Answer(error.code().name, error.details() or "")
        return Answer("OK")


async def _stream(case: Case, port: int) -> Answer:
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=_OPTIONS) as channel:
        call: Any = channel.stream_stream(case.target)(timeout=_CASE)
        reader = asyncio.create_task(_read_all(call)) if case.reads else None
        with contextlib.suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError, TimeoutError):
            async with asyncio.timeout(_ANSWER):  # a server that does not read blocks the writer
                for piece in case.pieces:
                    await call.write(piece)
            if case.ending is Ending.HALF_CLOSE:
                await call.done_writing()
        if case.ending is not Ending.HANG_UP:
            if reader is not None:
                await asyncio.wait([reader], timeout=_LINGER)
            else:
                await asyncio.sleep(_LINGER)
        call.cancel()
        if reader is not None:
            await reader
        code = await call.code()
        return Answer(code.name, await call.details() or "")


async def _read_all(call: Any) -> None:
    with contextlib.suppress(grpc.aio.AioRpcError, asyncio.CancelledError):
        while await call.read() is not grpc.aio.EOF:
            pass
