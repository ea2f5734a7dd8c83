"""GET /models/{id}/thumbnail/file: the picture, and never a file outside the thumbnail root.

A page may keep a copy. Events and records add the time of the picture to the address (`?v=`), so that another picture
has another address. A copy under the documented address, without it, is out of date for a minute at most.
"""

import os
import stat
from functools import partial
from pathlib import Path
from typing import BinaryIO

import grpc
from aiohttp import web
from google.protobuf.timestamp_pb2 import Timestamp

from thumbq.v1.notification_pb2 import GetThumbnailRequest
from thumbq.v1.notification_pb2_grpc import NotificationServiceStub
from thumbq_gateway.http.errors import Refusal
from thumbq_gateway.http.files.response import PIECE, OpenFile, close_file, opened, send_file, stalled_file
from thumbq_gateway.http.tickets import TICKET, check_models, check_sees_all
from thumbq_gateway.protojson.values import InvalidValue, whole_number_reader
from thumbq_runtime.file_threads import FileThreads, Stalled
from thumbq_runtime.folders import open_folder_below, resolved, step_into

_OF_MODEL = "/models/{model_id:-?[0-9]+}/thumbnail/file"
_OF_VERSION = "/model-versions/{model_version_id:[0-9]+}/thumbnail/file"
_TIMEOUT = 10.0  # seconds
_FILE_TIMEOUT = 5.0  # seconds
# A page of Modelibr fetches a picture in a loop for as long as it must not keep it.
_KEEP_SHORTLY = "public, max-age=60"
_KEEP = "public, max-age=86400, immutable"
# A page of another origin shows a picture in an <img>.
_FOR_ALL_PAGES = {"Cross-Origin-Resource-Policy": "cross-origin"}
_BY_SUFFIX = {
    ".png": "image/png",
    ".webp": "image/webp",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".gif": "image/gif",
    ".avif": "image/avif",
}
_read_id = whole_number_reader(-(2**63), 2**63 - 1)


class ThumbnailFiles:
    """The handler. The server names the file of a model's picture."""

    def __init__(self, channel: grpc.aio.Channel, root: Path | None) -> None:
        """Serve no file at all without a root."""
        self._service = NotificationServiceStub(channel)
        self._root = root
        self._threads = FileThreads(timeout=_FILE_TIMEOUT)

    def routes(self) -> list[web.RouteDef]:
        """Return the route of the pictures."""
        return [web.get(_OF_MODEL, self.handle), web.get(_OF_VERSION, self.handle)]

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Return the last good picture of the model or version, or 404."""
        ((name, text),) = request.match_info.items()
        try:
            number = _read_id(text)
        except InvalidValue:
            raise web.HTTPNotFound from None
        if name == "model_id":
            check_models(request, [number])
        else:
            check_sees_all(request)
        asked = GetThumbnailRequest(**{name: number})
        answer = await self._service.GetThumbnail(asked, timeout=_TIMEOUT)
        path = answer.thumbnail.path
        if self._root is None or not path:
            raise _no_file(name, number)
        is_of_this_picture = request.query.get("v") == _version(answer.thumbnail.processed_at)
        keep = _KEEP if is_of_this_picture else _KEEP_SHORTLY
        if TICKET in request:  # only the page keeps a copy, and no cache on the way
            keep = keep.replace("public", "private")
        saved_as = f"{name.removesuffix('_id').replace('_', '-')}-{number}"
        try:
            step = partial(_open_picture, self._root, path, saved_as, keep)
            picture = await self._threads.run(path, step, close_file)
        except (OSError, ValueError):
            raise _no_file(name, number) from None
        except Stalled:
            raise stalled_file() from None
        return await send_file(request, picture, self._threads)


def versioned(url: str, moment: Timestamp) -> str:
    """Return the address of the picture that came at this moment, and of no other."""
    return f"{url}?v={_version(moment)}"


def _version(moment: Timestamp) -> str:
    return f"{moment.ToMicroseconds():x}"


def open_below(root: Path, path: str) -> BinaryIO:
    """Open a regular file. The path may contain links, but must end below the root.

    Raises OSError, ValueError.
    """
    real_root = resolved(root)
    place = resolved(real_root / path)
    # a symbolic link that is swapped in from here on is refused
    folder = open_folder_below(real_root, place.parent)
    descriptor = step_into(folder, place.name, os.O_NONBLOCK)  # opening a pipe would block
    file = os.fdopen(descriptor, "rb")
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        file.close()
        raise OSError("no regular file")
    return file


def _open_picture(root: Path, path: str, saved_as: str, keep: str) -> OpenFile:
    file = open_below(root, path)
    try:
        start = os.pread(file.fileno(), PIECE, 0)
        kind = content_type(start, path)
        suffix = next((suffix for suffix, known in _BY_SUFFIX.items() if known == kind), "")
        headers = {"Content-Disposition": f'inline; filename="{saved_as}{suffix}"', "Cache-Control": keep}
        return opened(file, start, {"Content-Type": kind, **_FOR_ALL_PAGES, **headers})
    except OSError:
        file.close()
        raise


def content_type(start: bytes, path: str) -> str:
    """Return the type from the first bytes, else from the name. No result is a type that a browser would run."""
    if start.startswith(b"\x89PNG\r\n\x1a\n"):
        return "image/png"
    if start.startswith(b"RIFF") and start[8:12] == b"WEBP":
        return "image/webp"
    if start.startswith(b"\xff\xd8\xff"):
        return "image/jpeg"
    return _BY_SUFFIX.get(Path(path).suffix.lower(), "application/octet-stream")


def _no_file(name: str, number: int) -> Refusal:
    what = "Model" if name == "model_id" else "Version"
    return Refusal(grpc.StatusCode.NOT_FOUND, f"{what} {number} has no thumbnail file.")
