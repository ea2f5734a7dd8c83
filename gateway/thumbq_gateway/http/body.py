"""The JSON bodies of requests, bounded in bytes, in time and in the cost of decoding them."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import grpc
from aiohttp import web

from thumbq_gateway.http.errors import Refusal
from thumbq_gateway.http.room import NoRoom, Place, Room
from thumbq_gateway.protojson.text import parse_json

T = TypeVar("T")

MEBIBYTE = 1 << 20
ROOM = 64 * MEBIBYTE
_SMALL = 16 * 1024  # bytes; a body takes a place in the room when it is larger
_LARGE = 64 * 1024  # bytes; a larger body takes more than a few milliseconds to decode


class Bodies:
    """Receives and decodes bodies. Large ones share a room in memory and one thread, which decodes one at a time."""

    def __init__(self, *, timeout: float, room: int = ROOM) -> None:
        """A body has `timeout` seconds to arrive. All large ones together may have `room` bytes."""
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
        place = Place()
        try:
            body = await self._receive(request, limit, place)
            self._room.arrived(place)
            if len(body) <= _LARGE:
                return read(parse_json(body))
            decoding = asyncio.get_running_loop().run_in_executor(self._decoder, lambda: read(parse_json(body)))
            return await decoding
        except NoRoom:
            message = "Too many large requests arrive at once. Try again."
            raise Refusal(grpc.StatusCode.UNAVAILABLE, message) from None
        finally:
            self._room.leave(place)

    async def _receive(self, request: web.Request, limit: int, place: Place) -> bytes:
        body = bytearray()
        try:
            async with place.deadline:
                place.deadline.reschedule(asyncio.get_running_loop().time() + self._timeout)
                while piece := await request.content.readany():
                    body += piece
                    if len(body) > limit:
                        raise _too_large(limit)
                    if len(body) > _SMALL:
                        self._room.grow(place, len(body))
        except TimeoutError:
            if place.was_taken:
                raise NoRoom from None
            message = f"The request body did not arrive within {self._timeout:g} seconds."
            raise Refusal(grpc.StatusCode.DEADLINE_EXCEEDED, message, http_status=408) from None
        except web.RequestPayloadError:
            raise Refusal(grpc.StatusCode.INVALID_ARGUMENT, "The request body cannot be decoded.") from None
        return bytes(body)


def _too_large(limit: int) -> Refusal:
    message = f"The request body is larger than {limit // MEBIBYTE} MiB."
    return Refusal(grpc.StatusCode.INVALID_ARGUMENT, message, http_status=413)
