"""POST /models/{id}/thumbnail/upload and /png-upload: pictures that workers bring, kept where pictures are."""

import asyncio
from typing import Any, cast

import grpc
from aiohttp import BodyPartReader, MultipartReader, StreamReader, web
from aiohttp.http_exceptions import HttpProcessingError

from thumbq_gateway.http.bodies.body import Arrival, Bodies
from thumbq_gateway.http.bodies.encodings import refuse_encodings
from thumbq_gateway.http.errors import Refusal
from thumbq_gateway.http.files.pictures import NoPicture, inspect
from thumbq_gateway.http.files.places import Places
from thumbq_gateway.http.requests.path_numbers import number_in_path
from thumbq_gateway.protojson.encoder import exact_number, json_bytes

LARGEST_PICTURE = 10 * 1024 * 1024  # bytes
_AT_ONCE = 8  # pictures are written
_PIECE = 256 * 1024  # bytes
# What may come before the picture: lines outside of parts, which aiohttp reads without a pause, and bytes of parts.
_MOST_LINES = 1000
_MOST_BYTES = LARGEST_PICTURE
_MOST_PARTS = 120
# How a part may be sent. aiohttp would undo others at a high price.
_AS_IT_IS = {"", "7bit", "8bit", "binary"}


class Uploads:
    """The handlers. A picture is kept under the hash of its content, so a second one of the same is the same file."""

    def __init__(self, places: Places, bodies: Bodies) -> None:
        """Without a place nothing is taken."""
        self._places = places
        self._bodies = bodies
        self._turns = asyncio.Semaphore(_AT_ONCE)

    def routes(self) -> list[web.RouteDef]:
        """Return the routes."""
        return [
            web.post("/models/{model_id:[0-9]+}/thumbnail/upload", self.take),
            web.post("/models/{model_id:[0-9]+}/thumbnail/png-upload", self.take_png),
        ]

    async def take(self, request: web.Request) -> web.Response:
        """Keep a picture of any kind; the worker reports its path with the job."""
        return await self._answer(request, "thumbnailPath")

    async def take_png(self, request: web.Request) -> web.Response:
        """Keep the still PNG beside an animated picture."""
        return await self._answer(request, "pngThumbnailPath")

    async def _answer(self, request: web.Request, path_name: str) -> web.Response:
        model_id = number_in_path(request, "model_id")
        if (place := self._places.of_new_pictures()) is None:
            message = "This gateway keeps no pictures: neither THUMBQ_THUMBNAIL_ROOT nor THUMBQ_THUMBNAIL_STORE is set."
            raise Refusal(grpc.StatusCode.UNIMPLEMENTED, message)
        async with self._bodies.arriving(request) as arrival:
            content = await _read_file(request, arrival)
            arrival.is_whole()
            try:
                picture = inspect(content)
            except NoPicture as error:
                raise Refusal(grpc.StatusCode.INVALID_ARGUMENT, str(error)) from None
            if path_name == "pngThumbnailPath" and picture.extension != "png":
                raise Refusal(grpc.StatusCode.INVALID_ARGUMENT, "The picture must be a PNG.")
            async with self._turns:
                path = await place.keep(content, picture)
        answer = {
            "message": "Thumbnail uploaded successfully",
            "modelId": exact_number(model_id),
            path_name: path,
            "sizeBytes": len(content),
            "width": picture.width,
            "height": picture.height,
        }
        return web.Response(body=json_bytes(answer), content_type="application/json")


async def _read_file(request: web.Request, arrival: Arrival) -> bytes:
    """Return the content of the part named `file`, or of the first one with a file name. Raises Refusal."""
    if request.content_type != "multipart/form-data":
        raise Refusal(grpc.StatusCode.INVALID_ARGUMENT, "The body must be multipart/form-data.")
    refuse_encodings(request)
    before = parts = 0
    try:
        async for part in MultipartReader(request.headers, cast("StreamReader", _Lines(request.content))):
            if not isinstance(part, BodyPartReader):
                raise Refusal(grpc.StatusCode.INVALID_ARGUMENT, "A part has parts of its own.")
            if part.headers.get("Content-Transfer-Encoding", "").strip().lower() not in _AS_IT_IS:
                raise Refusal(grpc.StatusCode.INVALID_ARGUMENT, "A part must not be encoded.")
            if part.name == "file" or part.filename:
                return await _read_part(part, arrival)
            parts += 1
            if parts > _MOST_PARTS:
                raise _too_much()
            await asyncio.sleep(0)  # the headers of a part may take milliseconds
            while piece := await part.read_chunk(_PIECE):
                before += len(piece)
                if before > _MOST_BYTES:
                    raise _too_much()
    # what aiohttp says of a broken multipart body
    except (ValueError, AssertionError, RuntimeError, HttpProcessingError):
        raise Refusal(grpc.StatusCode.INVALID_ARGUMENT, "The multipart body is broken.") from None
    raise Refusal(grpc.StatusCode.INVALID_ARGUMENT, "The part named file is missing.")


class _Lines:
    """A body that has few lines outside of its parts."""

    def __init__(self, content: StreamReader) -> None:
        self._content = content
        self._lines = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._content, name)

    async def readline(self, **limits: int) -> bytes:
        """Return the next line. Raises Refusal."""
        self._lines += 1
        if self._lines > _MOST_LINES:
            raise _too_much()
        return await self._content.readline(**limits)


def _too_much() -> Refusal:
    message = "The multipart body has too much besides its picture."
    return Refusal(grpc.StatusCode.INVALID_ARGUMENT, message, http_status=413)


async def _read_part(part: BodyPartReader, arrival: Arrival) -> bytes:
    content = bytearray()
    while piece := await part.read_chunk(_PIECE):
        content += piece
        arrival.has(len(content))
        if len(content) > LARGEST_PICTURE:
            message = f"The picture is larger than {LARGEST_PICTURE // 1024 // 1024} MiB."
            raise Refusal(grpc.StatusCode.INVALID_ARGUMENT, message, http_status=413)
    return bytes(content)
