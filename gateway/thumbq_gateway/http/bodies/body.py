"""The JSON bodies of requests, bounded in bytes, in time and in the cost of decoding them."""

import asyncio
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import partial
from typing import TypeVar

import grpc
from aiohttp import web

from thumbq_gateway.http.bodies.encodings import Decompressor, encoding_of
from thumbq_gateway.http.bodies.room import NoRoom, Place, Room
from thumbq_gateway.http.errors import Refusal
from thumbq_gateway.http.turns import Turns
from thumbq_gateway.protojson.text import LARGE, parse_json

T = TypeVar("T")

MEBIBYTE = 1 << 20
# What a browser sends for any page without asking first. A program that leaves the type out, or has one of its own, is
# none of these: a browser would have to ask for its page.
_OF_FORMS = {"text/plain", "application/x-www-form-urlencoded", "multipart/form-data"}
# One address gets half. With less for it, twenty bodies of 3 MiB are refused and sent again without an end, which made
# other callers wait seven times as long.
ROOM = 128 * MEBIBYTE
_SMALL = 16 * 1024  # bytes; a body takes a place in the room when it is larger
_REST = 1.0  # others have at least as much time as the decoding of large bodies


class Bodies:
    """Receives and decodes bodies. Large ones share a room in memory and one thread, in which callers take turns."""

    def __init__(self, caller_of: Callable[[web.Request], str], *, timeout: float, room: int = ROOM) -> None:
        """A body has `timeout` seconds to arrive. All large ones together may have `room` bytes."""
        self._caller_of = caller_of
        self._turns = Turns(_REST)
        self._timeout = timeout
        self._room = Room(room)
        self._decoder = ThreadPoolExecutor(1, "decoder")

    def close(self) -> None:
        """Let go of the thread."""
        self._decoder.shutdown(wait=False, cancel_futures=True)

    async def decoded(self, request: web.Request, limit: int, read: Callable[[object], T]) -> T:
        """Return what `read` makes of the parsed body; an empty body is an empty object.

        A large body is decoded in the thread. Raises Refusal and InvalidValue.
        """
        if (request.content_length or 0) > limit:
            raise _too_large(limit)
        if request.content_type in _OF_FORMS and not _is_empty(request):
            raise _not_json(request.content_type)
        encoding = encoding_of(request)
        at_once = request.content.is_eof() and request.content.total_bytes <= _SMALL
        if at_once and encoding is None:  # it came with the head, as most do
            return read(parse_json(request.content.read_nowait()))
        async with self.arriving(request) as arrival:
            body = await _received(request, limit, encoding, arrival)
            if len(body) <= LARGE:
                return read(parse_json(body))
            decode = partial(_decode, body, read)
            async with self._turns.turn(self._caller_of(request)):
                return await asyncio.get_running_loop().run_in_executor(self._decoder, decode)

    @asynccontextmanager
    async def arriving(self, request: web.Request) -> AsyncIterator["Arrival"]:
        """Limit the block, which receives the body of a request, in time and memory. Raises Refusal."""
        place = Place(self._caller_of(request))
        try:
            async with place.deadline:
                place.deadline.reschedule(asyncio.get_running_loop().time() + self._timeout)
                yield Arrival(self._room, place)
        except NoRoom:
            raise _no_room() from None
        except TimeoutError:
            if place.was_taken:
                raise _no_room() from None
            if not place.deadline.expired():
                raise
            message = f"The request body did not arrive within {self._timeout:g} seconds."
            raise Refusal(grpc.StatusCode.DEADLINE_EXCEEDED, message, http_status=408) from None
        finally:
            self._room.leave(place)


class Arrival:
    """A body that is being received."""

    def __init__(self, room: Room, place: Place) -> None:
        self._room = room
        self._place = place

    def has(self, size: int) -> None:
        """Tell how many bytes have come. Raises NoRoom."""
        if size > _SMALL:
            self._room.grow(self._place, size)

    def is_whole(self) -> None:
        """Tell that all has come: what the block does from now on is not limited in time."""
        self._place.deadline.reschedule(None)
        self._room.arrived(self._place)


async def _received(request: web.Request, limit: int, encoding: str | None, arrival: Arrival) -> bytes:
    decompressor = Decompressor(encoding) if encoding else None
    body, received = bytearray(), 0
    while piece := await request.content.readany():
        received += len(piece)
        body += decompressor.decompress(piece, limit + 1 - len(body)) if decompressor else piece
        if max(len(body), received) > limit:
            raise _too_large(limit)
        arrival.has(len(body))
    if decompressor:
        decompressor.end()
    arrival.is_whole()
    return bytes(body)


def _decode(body: bytes, read: Callable[[object], T]) -> T:
    return read(parse_json(body))


def _no_room() -> Refusal:
    return Refusal(grpc.StatusCode.UNAVAILABLE, "Too many large requests arrive at once. Try again.")


def _too_large(limit: int) -> Refusal:
    size = f"{limit // MEBIBYTE} MiB" if limit >= MEBIBYTE else f"{limit // 1024} KiB"
    message = f"The request body is larger than {size}."
    return Refusal(grpc.StatusCode.INVALID_ARGUMENT, message, http_status=413)


def _is_empty(request: web.Request) -> bool:
    return request.content.is_eof() and request.content.total_bytes == 0


def _not_json(content_type: str) -> Refusal:
    message = f"The body must be sent as application/json, not as {content_type}."
    return Refusal(grpc.StatusCode.INVALID_ARGUMENT, message, http_status=415)
