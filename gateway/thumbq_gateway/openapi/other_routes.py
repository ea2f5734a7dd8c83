"""Descriptions of the routes without an RPC that programs other than Modelibr's use."""

from typing import Any, TypeAlias

from thumbq_gateway.notifications.request import MOST_MODELS

Document: TypeAlias = dict[str, Any]


def _query(name: str, schema: Document) -> Document:
    return {"name": name, "in": "query", "schema": schema}


def _text(operation_id: str, summary: str) -> Document:
    answer = {"200": {"description": "Yes.", "content": {"text/plain": {}}}}
    return {"operationId": operation_id, "summary": summary, "tags": ["Health"], "responses": answer}


_NOTIFICATIONS: Document = {
    "operationId": "Notifications",
    "summary": "Notifications as they happen: Server-Sent Events, or JSON lines",
    "tags": ["Notification"],
    "parameters": [
        _query("modelId", {"type": "array", "items": {"type": "integer"}}),
        _query("status", {"type": "array", "items": {"$ref": "#/components/schemas/ThumbnailStatus"}}),
        _query("after", {"type": "string", "examples": ["earliest", "latest", "5f0c21ab-42"]}),
        _query("thumbnails", {"type": "boolean", "default": True}),
        _query("queue", {"type": "boolean"}),
        _query("progress", {"type": "boolean"}),
        _query("stream", {"type": "string", "pattern": "^[0-9A-Za-z-]{16,64}$"}),
        {"name": "Last-Event-ID", "in": "header", "schema": {"type": "string"}},
    ],
    "responses": {
        "200": {
            "description": "An endless stream.",
            "content": {"text/event-stream": {}, "application/x-ndjson": {}},
        },
        "503": {"description": "The gateway has its maximum of clients; Retry-After says when to ask again."},
    },
}
POSTED_SUBSCRIPTION: Document = {
    **{name: _NOTIFICATIONS[name] for name in ("tags", "responses")},
    "operationId": "PostedNotifications",
    "summary": "The same for a subscription to more models than fit into an address",
    "requestBody": {
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "properties": {
                        "modelIds": {"type": "array", "items": {"type": "integer"}, "maxItems": MOST_MODELS},
                        "statuses": {"type": "array", "items": {"$ref": "#/components/schemas/ThumbnailStatus"}},
                        "after": {"type": "string"},
                        "thumbnails": {"type": "boolean", "default": True},
                        "queue": {"type": "boolean"},
                        "progress": {"type": "boolean"},
                    },
                }
            }
        }
    },
}
CHANGED_SUBSCRIPTION: Document = {
    "operationId": "ChangeModels",
    "summary": "Other models for a stream that was opened under a name (stream=...), without a new connection",
    "tags": ["Notification"],
    "requestBody": {
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "properties": {
                        "stream": {"type": "string", "pattern": "^[0-9A-Za-z-]{16,64}$"},
                        "modelIds": {
                            "type": "array",
                            "items": {"type": "integer"},
                            "minItems": 1,
                            "maxItems": MOST_MODELS,
                        },
                    },
                    "required": ["stream", "modelIds"],
                }
            }
        }
    },
    "responses": {
        "204": {"description": "The stream has events of these models from now on, and of no others."},
        "404": {"description": "The stream has ended, or is at another gateway: open a new one."},
    },
}
# The last is there for generators of clients, which know no pictures.
_PICTURES = ("image/png", "image/jpeg", "image/webp", "application/octet-stream")
_FILE: Document = {
    "operationId": "ThumbnailFile",
    "summary": "The picture",
    "tags": ["Notification"],
    "parameters": [
        {"name": "modelId", "in": "path", "required": True, "schema": {"type": "integer", "format": "int64"}}
    ],
    "responses": {
        "200": {
            "description": "The file.",
            "content": {kind: {"schema": {"type": "string", "format": "binary"}} for kind in _PICTURES},
        },
        "206": {"description": "A range of it."},
        "302": {"description": "It is in the object store, at an address that is good for ten minutes."},
        "304": {"description": "The caller's copy is current."},
        "404": {"description": "There is none."},
        "503": {"description": "Its disk or the object store does not answer."},
    },
}
OTHER_ROUTES: dict[str, Document] = {
    "/api/notifications": _NOTIFICATIONS,
    "/models/{modelId}/thumbnail/file": _FILE,
    "/healthz": _text("Healthz", "200 while the gateway lives"),
    "/readyz": _text("Readyz", "200 while the server behind it serves"),
    "/metrics": _text("Metrics", "Counters for Prometheus"),
}
