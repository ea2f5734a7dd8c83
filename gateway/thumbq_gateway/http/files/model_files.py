"""GET /models/{id}/file: the model itself, for workers that fetch it from the gateway."""

import re
from functools import partial
from pathlib import Path

import grpc
from aiohttp import web
from aiohttp.helpers import content_disposition_header

from thumbq_gateway.http.errors import Refusal
from thumbq_gateway.http.files.open_file import FILE_TIMEOUT, OpenFile, open_content, stalled_file
from thumbq_gateway.http.files.response import send
from thumbq_runtime.file_threads import FileThreads, Stalled

_TYPES = {".glb": "model/gltf-binary", ".gltf": "model/gltf+json", ".obj": "model/obj", ".stl": "model/stl"}


class ModelFiles:
    """The handlers, over a folder as the reference worker has it: `42.glb` or `42-any-name.glb` is model 42.

    A version of a model is `42/versions/7.glb`, likewise.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._threads = FileThreads(timeout=FILE_TIMEOUT)

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
            step = partial(_open_newest, self._root, folder, number, self._threads)
            file, name = await self._threads.run(f"{folder}/{number}", step, lambda opened: opened[0].close())
        except (OSError, ValueError, LookupError):
            raise Refusal(grpc.StatusCode.NOT_FOUND, f"There is no file of model {number}.") from None
        except Stalled:
            raise stalled_file() from None
        content_type = _TYPES.get(Path(name).suffix.lower(), "application/octet-stream")
        disposition = content_disposition_header("attachment", filename=name)
        return await send(request, file, {"Content-Type": content_type, "Content-Disposition": disposition})


def _open_newest(root: Path, folder: Path, number: int, threads: FileThreads) -> tuple[OpenFile, str]:
    path = _newest(folder, number)
    return open_content(root, str(path.relative_to(root)), threads), path.name


def _newest(folder: Path, number: int) -> Path:
    """Return the file of this number that was changed last. Raises OSError, LookupError."""
    named = re.compile(rf"{number}(-.*)?\.[A-Za-z0-9]+")
    found = [path for path in folder.iterdir() if named.fullmatch(path.name)]
    if not found:
        raise LookupError(number)
    return max(found, key=lambda path: path.stat().st_mtime)
