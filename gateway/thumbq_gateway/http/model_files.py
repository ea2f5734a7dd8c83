"""GET /models/{id}/file: the model itself, for workers that fetch it from the gateway."""

import asyncio
import re
from pathlib import Path

import grpc
from aiohttp import web
from aiohttp.helpers import content_disposition_header

from thumbq_gateway.http.errors import Refusal
from thumbq_gateway.http.files import OpenedFile, open_below

_TYPES = {".glb": "model/gltf-binary", ".gltf": "model/gltf+json", ".obj": "model/obj", ".stl": "model/stl"}


class ModelFiles:
    """The handlers, over a folder as the reference worker has it: `42.glb` or `42-any-name.glb` is model 42.

    A version of a model is `42/versions/7.glb`, likewise.
    """

    def __init__(self, root: Path) -> None:
        self._root = root

    def routes(self) -> list[web.RouteDef]:
        """Return the routes."""
        return [
            web.get("/models/{model_id:[0-9]+}/file", self.model),
            web.get("/models/{model_id:[0-9]+}/versions/{version_id:[0-9]+}/file", self.version),
        ]

    async def model(self, request: web.Request) -> web.StreamResponse:
        """Send the newest file of a model."""
        return await self._send(self._root, int(request.match_info["model_id"]))

    async def version(self, request: web.Request) -> web.StreamResponse:
        """Send the newest file of a version."""
        folder = self._root / request.match_info["model_id"] / "versions"
        return await self._send(folder, int(request.match_info["version_id"]))

    async def _send(self, folder: Path, number: int) -> web.StreamResponse:
        try:
            path = await asyncio.to_thread(_newest, folder, number)
            file = await asyncio.to_thread(open_below, self._root, str(path.relative_to(self._root)))
        except (OSError, ValueError, LookupError):
            raise Refusal(grpc.StatusCode.NOT_FOUND, f"There is no file of model {number}.") from None
        content_type = _TYPES.get(path.suffix.lower(), "application/octet-stream")
        response = OpenedFile(file, content_type)
        response.headers["Content-Disposition"] = content_disposition_header("attachment", filename=path.name)
        return response


def _newest(folder: Path, number: int) -> Path:
    """Return the file of this number that was changed last. Raises OSError, LookupError."""
    named = re.compile(rf"{number}(-.*)?\.[A-Za-z0-9]+")
    found = [path for path in folder.iterdir() if named.fullmatch(path.name)]
    if not found:
        raise LookupError(number)
    return max(found, key=lambda path: path.stat().st_mtime)
