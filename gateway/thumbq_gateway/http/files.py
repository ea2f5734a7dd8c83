"""GET /models/{id}/thumbnail/file: the picture, and never a file outside the thumbnail root."""

import os
import stat
from functools import partial
from pathlib import Path
from typing import BinaryIO

import grpc
from aiohttp import web

from thumbq.v1.notification_pb2 import GetThumbnailRequest
from thumbq.v1.notification_pb2_grpc import NotificationServiceStub
from thumbq_gateway.http.errors import Refusal
from thumbq_gateway.http.file_threads import FileThreads, Stalled
from thumbq_gateway.http.picture_response import PIECE, Picture, opened_picture, send_picture
from thumbq_gateway.protojson.values import InvalidValue, whole_number_reader

_PATTERN = "/models/{model_id:-?[0-9]+}/thumbnail/file"
_TIMEOUT = 10.0  # seconds
_FILE_TIMEOUT = 5.0  # seconds
_BY_SUFFIX = {
    ".png": "image/png",
    ".webp": "image/webp",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".gif": "image/gif",
    ".avif": "image/avif",
}
_read_model_id = whole_number_reader(-(2**63), 2**63 - 1)


class ThumbnailFiles:
    """The handler. The server names the file of a model's picture."""

    def __init__(self, channel: grpc.aio.Channel, root: Path | None, *, timeout: float = _FILE_TIMEOUT) -> None:
        """Serve no file at all without a root. Each step of reading one has `timeout` seconds."""
        self._service = NotificationServiceStub(channel)
        self._root = root
        self._threads = FileThreads(timeout=timeout)

    def routes(self) -> list[web.RouteDef]:
        """Return the route of the pictures."""
        return [web.get(_PATTERN, self.handle)]

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Return the last good picture of the model, or 404."""
        try:
            model_id = _read_model_id(request.match_info["model_id"])
        except InvalidValue:
            raise web.HTTPNotFound from None
        asked = GetThumbnailRequest(model_id=model_id)
        answer = await self._service.GetThumbnail(asked, timeout=_TIMEOUT)
        path = answer.thumbnail.path
        if self._root is None or not path:
            raise _no_file(model_id)
        try:
            picture = await self._threads.run(path, partial(_open_picture, self._root, path, model_id), _close)
        except (OSError, ValueError):
            raise _no_file(model_id) from None
        except Stalled:
            message = f"The thumbnail file of model {model_id} cannot be read at the moment."
            raise Refusal(grpc.StatusCode.UNAVAILABLE, message) from None
        try:
            return await send_picture(request, picture, self._threads)
        except (OSError, Stalled) as error:  # the headers are sent: the client learns from the missing bytes
            request.protocol.force_close()
            raise ConnectionResetError("the file cannot be read") from error
        finally:
            _close(picture)


def open_below(root: Path, path: str) -> BinaryIO:
    """Open a regular file. The path may contain links, but must end below the root.

    Raises OSError, ValueError.
    """
    real_root = root.resolve(strict=True)
    *folders, name = (real_root / path).resolve(strict=True).relative_to(real_root).parts
    # O_NOFOLLOW from here: a symbolic link swapped in after resolve() must fail.
    descriptor = os.open(real_root, os.O_RDONLY | os.O_DIRECTORY)
    for folder in folders:
        descriptor = _step(descriptor, folder, os.O_DIRECTORY)
    descriptor = _step(descriptor, name, os.O_NONBLOCK)  # opening a pipe would block
    file = os.fdopen(descriptor, "rb")
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        file.close()
        raise OSError("no regular file")
    return file


def _step(folder: int, name: str, flags: int) -> int:
    try:
        return os.open(name, os.O_RDONLY | os.O_NOFOLLOW | flags, dir_fd=folder)
    finally:
        os.close(folder)


def _open_picture(root: Path, path: str, model_id: int) -> Picture:
    file = open_below(root, path)
    try:
        start = os.pread(file.fileno(), PIECE, 0)
        kind = content_type(start, path)
        suffix = next((suffix for suffix, known in _BY_SUFFIX.items() if known == kind), "")
        return opened_picture(file, kind, start, f"model-{model_id}{suffix}")
    except OSError:
        file.close()
        raise


def _close(picture: Picture) -> None:
    picture.file.close()


def content_type(start: bytes, path: str) -> str:
    """Return the type from the first bytes, else from the name. No result is a type that a browser would run."""
    if start.startswith(b"\x89PNG\r\n\x1a\n"):
        return "image/png"
    if start.startswith(b"RIFF") and start[8:12] == b"WEBP":
        return "image/webp"
    if start.startswith(b"\xff\xd8\xff"):
        return "image/jpeg"
    return _BY_SUFFIX.get(Path(path).suffix.lower(), "application/octet-stream")


def _no_file(model_id: int) -> Refusal:
    return Refusal(grpc.StatusCode.NOT_FOUND, f"Model {model_id} has no thumbnail file.")
