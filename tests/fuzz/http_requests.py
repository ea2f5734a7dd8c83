"""Right requests for every route of the gateway, which the cases then change."""

import json
import re
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from google.protobuf.json_format import MessageToDict, SerializeToJsonError

from tests.fuzz.values import ODD_TEXTS, Values
from thumbq.v1 import admin_pb2, notification_pb2, queue_pb2
from thumbq_gateway.openapi.other_routes import OTHER_ROUTES
from thumbq_gateway.transcoding.routes import Route, routes_of

_MODULES = (queue_pb2, notification_pb2, admin_pb2)
_SERVICES = [service for module in _MODULES for service in module.DESCRIPTOR.services_by_name.values()]
ROUTES = [route for routes in routes_of(_SERVICES).values() for route in routes]
_PAGES = [
    "/", "/docs", "/openapi.json", "/openapi/v1.json", "/health", "/static/live/page.js", "/static/{text}",
    "/models/{model_id}/file", "/models/{model_id}/versions/{version_id}/file", *OTHER_ROUTES,
    "/thumbnail-jobs/sounds/{text}", "/api/thumbnail-jobs/texture-sets/{text}",
]  # fmt: skip
# Routes with a body that no RPC describes.
_POSTS = {
    "/thumbnail-jobs/{job_id}/finish": {"success": True, "thumbnailPath": "/thumbnails/a.png", "sizeBytes": 1},
    "/api/thumbnail-jobs/{job_id}/finish": {"success": False, "errorMessage": "broken"},
    "/models/{model_id}/thumbnail/regenerate": {},
}


@dataclass
class Request:
    """The parts of a request, before they are bytes."""

    method: str
    target: str
    headers: list[str] = field(default_factory=list)
    body: bytes = b""
    sends_length: bool = True

    def pieces(self) -> tuple[bytes, ...]:
        length = [f"Content-Length: {len(self.body)}"] if self.sends_length and self.body else []
        lines = [f"{self.method} {self.target} HTTP/1.1", "Host: 127.0.0.1", *self.headers, *length]
        head = [line.encode("latin-1", "replace") + b"\r\n" for line in lines]
        return (*head, b"\r\n", *([self.body] if self.body else []))


def right_request(values: Values) -> tuple[str, Request]:
    """Return a request for one of the routes, with a body and a query made from its message."""
    if values.chance.random() < 0.15:
        page = values.chance.choice(_PAGES)
        return page, Request("GET", fill_in(values, page))
    if values.chance.random() < 0.05:
        path, body = values.chance.choice(list(_POSTS.items()))
        content_type = ["Content-Type: application/json"]
        return path, Request("POST", fill_in(values, path), content_type, json.dumps(body).encode())
    route = values.chance.choice(ROUTES)
    content = _content(values, route)
    request = Request(route.http_method, fill_in(values, route.path))
    if route.takes_body:
        request.body = json.dumps(content).encode()
        request.headers.append("Content-Type: application/json")
    elif content:
        request.target += "?" + "&".join(f"{name}={quote(str(value))}" for name, value in content.items())
    return route.path, request


def _content(values: Values, route: Route) -> dict[str, Any]:
    try:
        content: dict[str, Any] = MessageToDict(values.message(route.request_type))
    except (SerializeToJsonError, ValueError):
        return {}  # a duration out of range has no JSON form
    return content


def fill_in(values: Values, path: str) -> str:
    """Return the path with a value for each of its parameters."""

    def fill(match: re.Match[str]) -> str:
        if values.is_odd:
            return quote(values.chance.choice([*ODD_TEXTS, str(2**63), "-5", "1.0", "0x1", "٣"]), safe="/")
        known = values.known.model_ids if "model" in match[1].lower() else values.known.job_ids
        return str(values.chance.choice(known))

    return re.sub(r"\{(\w+)\}", fill, path)
