"""GET /models/{id}/thumbnail/file: the picture, and never a file or object outside the places of pictures.

A page may keep a copy. Events and records add the time of the picture to the address (`?v=`), so that another picture
has another address. A copy under the documented address, without it, is out of date for a minute at most.
"""

from pathlib import Path

import grpc
from aiohttp import web
from google.protobuf.timestamp_pb2 import Timestamp

from thumbq.v1.job_pb2 import Thumbnail
from thumbq.v1.notification_pb2 import GetThumbnailRequest
from thumbq.v1.notification_pb2_grpc import NotificationServiceStub
from thumbq_gateway.http.errors import Refusal
from thumbq_gateway.http.files.places import NotThere, Places
from thumbq_gateway.http.files.response import send
from thumbq_gateway.http.requests.path_numbers import number_in_path
from thumbq_gateway.http.requests.tickets import check_models, check_sees_all

_OF_MODEL = "/models/{model_id:-?[0-9]+}/thumbnail/file"
_OF_VERSION = "/model-versions/{model_version_id:[0-9]+}/thumbnail/file"
_TIMEOUT = 10.0  # seconds
# A page of Modelibr fetches a picture in a loop for as long as it must not keep it.
_KEEP_SHORTLY = "public, max-age=60"
_KEEP = "public, max-age=86400, immutable"
# It leads to an address that is good for some minutes, for whoever has it.
_KEEP_REDIRECTION = "private, max-age=60"
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


class ThumbnailFiles:
    """The handler. The server names the file of a model's picture."""

    def __init__(self, channel: grpc.aio.Channel, places: Places) -> None:
        """Serve no picture at all without a place."""
        self._service = NotificationServiceStub(channel)
        self._places = places

    def routes(self) -> list[web.RouteDef]:
        """Return the route of the pictures."""
        return [web.get(_OF_MODEL, self.handle), web.get(_OF_VERSION, self.handle)]

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Return the last good picture of the model or version, or 404."""
        (name,) = request.match_info
        number = number_in_path(request, name)
        if name == "model_id":
            check_models(request, [number])
        else:
            check_sees_all(request)
        asked = GetThumbnailRequest(**{name: number})
        answer = await self._service.GetThumbnail(asked, timeout=_TIMEOUT)
        saved_as = f"{name.removesuffix('_id').replace('_', '-')}-{number}"
        try:
            return await self._send(request, answer.thumbnail, saved_as)
        except NotThere:
            what = "Model" if name == "model_id" else "Version"
            raise Refusal(grpc.StatusCode.NOT_FOUND, f"{what} {number} has no thumbnail file.") from None

    async def _send(self, request: web.Request, thumbnail: Thumbnail, saved_as: str) -> web.StreamResponse:
        if not thumbnail.path:
            raise NotThere
        place = self._places.of(thumbnail.path)
        if request.method == "GET" and (address := await place.redirection(thumbnail.path)):
            headers = {"Location": address, "Cache-Control": _KEEP_REDIRECTION, **_FOR_ALL_PAGES}
            return web.Response(status=302, headers=headers)
        keep = _KEEP if request.query.get("v") == _version(thumbnail.processed_at) else _KEEP_SHORTLY
        content = await place.open(thumbnail.path)
        kind = content_type(content.start, thumbnail.path)
        suffix = next((suffix for suffix, known in _BY_SUFFIX.items() if known == kind), "")
        headers = {"Content-Disposition": f'inline; filename="{saved_as}{suffix}"', "Cache-Control": keep}
        return await send(request, content, {"Content-Type": kind, **_FOR_ALL_PAGES, **headers})


def versioned(url: str, moment: Timestamp) -> str:
    """Return the address of the picture that came at this moment, and of no other."""
    return f"{url}?v={_version(moment)}"


def _version(moment: Timestamp) -> str:
    return f"{moment.ToMicroseconds():x}"


def content_type(start: bytes, path: str) -> str:
    """Return the type from the first bytes, else from the name. No result is a type that a browser would run."""
    if start.startswith(b"\x89PNG\r\n\x1a\n"):
        return "image/png"
    if start.startswith(b"RIFF") and start[8:12] == b"WEBP":
        return "image/webp"
    if start.startswith(b"\xff\xd8\xff"):
        return "image/jpeg"
    return _BY_SUFFIX.get(Path(path).suffix.lower(), "application/octet-stream")
