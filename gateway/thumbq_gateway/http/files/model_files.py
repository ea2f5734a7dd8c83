"""GET /models/{id}/file: the model itself, for workers that fetch it from the gateway."""

import os
import re
from functools import partial
from pathlib import Path

import grpc
from aiohttp import web
from aiohttp.helpers import content_disposition_header

from thumbq_gateway.http.errors import Refusal
from thumbq_gateway.http.files.response import PIECE, OpenFile, close_file, opened, send_file, stalled_file
from thumbq_gateway.http.files.thumbnails import open_below
from thumbq_runtime.file_threads import FileThreads, Stalled

_FILE_TIMEOUT = 5.0  # seconds
_TYPES = {".glb": "model/gltf-binary", ".gltf": "model/gltf+json", ".obj": "model/obj", ".stl": "model/stl"}


class ModelFiles:
    """The handlers, over a folder as the reference worker has it: `42.glb` or `42-any-name.glb` is model 42.

    A version of a model is `42/versions/7.glb`, likewise.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._threads = FileThreads(timeout=_FILE_TIMEOUT)

    def routes(self) -> list[web.RouteDef]:
        """Return the routes."""
        return [
            web.get("/models/{model_id:[0-9]+}/file", self.model),
            web.get("/models/{model_id:[0-9]+}/versions/{version_id:[0-9]+}/file", self.version),
        ]

    async def model(self, request: web.Request) -> web.StreamResponse:
        """Send the newest file of a model."""
        return await self._send(request, self._root, int(request.match_info["model_id"]))

    async def version(self, request: web.Request) -> web.StreamResponse:
        """Send the newest file of a version."""
        folder = self._root / request.match_info["model_id"] / "versions"
        return await self._send(request, folder, int(request.match_info["version_id"]))

    async def _send(self, request: web.Request, folder: Path, number: int) -> web.StreamResponse:
        try:
            step = partial(_open_newest, self._root, folder, number)
            file = await self._threads.run(f"{folder}/{number}", step, close_file)
        except (OSError, ValueError, LookupError):
            raise Refusal(grpc.StatusCode.NOT_FOUND, f"There is no file of model {number}.") from None
        except Stalled:
            raise stalled_file() from None
        return await send_file(request, file, self._threads)


def _open_newest(root: Path, folder: Path, number: int) -> OpenFile:
    path = _newest(folder, number)
    file = open_below(root, str(path.relative_to(root)))
    content_type = _TYPES.get(path.suffix.lower(), "application/octet-stream")
    disposition = content_disposition_header("attachment", filename=path.name)
    try:
        start = os.pread(file.fileno(), PIECE, 0)
        return opened(file, start, {"Content-Type": content_type, "Content-Disposition": disposition})
    except OSError:
        file.close()
        raise


def _newest(folder: Path, number: int) -> Path:
    """Return the file of this number that was changed last. Raises OSError, LookupError."""
    named = re.compile(rf"{number}(-.*)?\.[A-Za-z0-9]+")
    found = [path for path in folder.iterdir() if named.fullmatch(path.name)]
    if not found:
        raise LookupError(number)
    return max(found, key=lambda path: path.stat().st_mtime)
