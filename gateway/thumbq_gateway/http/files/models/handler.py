"""GET /models/{id}/file: the model itself, for workers that fetch it from the gateway."""

from pathlib import PurePosixPath
from typing import Protocol

import grpc
from aiohttp import web
from aiohttp.helpers import content_disposition_header

from thumbq_gateway.http.errors import Refusal
from thumbq_gateway.http.files.places import NotThere
from thumbq_gateway.http.files.response import Content, send

_TYPES = {".glb": "model/gltf-binary", ".gltf": "model/gltf+json", ".obj": "model/obj", ".stl": "model/stl"}


class ModelPlace(Protocol):
    """Where the files of models are."""

    async def open(self, model_id: int, version_id: int | None) -> tuple[Content, str]:
        """Open the newest file of a model, or of a version of it. Return its name, too. Raises NotThere, Refusal."""


class ModelFiles:
    """The handlers."""

    def __init__(self, place: ModelPlace) -> None:
        self._place = place

    def routes(self) -> list[web.RouteDef]:
        """Return the routes."""
        return [
            web.get("/models/{model_id:[0-9]{1,19}}/file", self.send),
            web.get("/models/{model_id:[0-9]{1,19}}/versions/{version_id:[0-9]{1,19}}/file", self.send),
        ]

    async def send(self, request: web.Request) -> web.StreamResponse:
        """Send the newest file of a model or a version."""
        numbers = {name: int(text) for name, text in request.match_info.items()}
        version_id = numbers.get("version_id")
        try:
            content, name = await self._place.open(numbers["model_id"], version_id)
        except NotThere:
            what = f"model {numbers['model_id']}" if version_id is None else f"version {version_id}"
            raise Refusal(grpc.StatusCode.NOT_FOUND, f"There is no file of {what}.") from None
        content_type = _TYPES.get(PurePosixPath(name).suffix.lower(), "application/octet-stream")
        disposition = content_disposition_header("attachment", filename=name)
        return await send(request, content, {"Content-Type": content_type, "Content-Disposition": disposition})
