"""Descriptions of the routes without an RPC that programs other than Modelibr's use."""

from typing import Any, TypeAlias

from thumbq_gateway.notifications.request import MOST_MODELS

Document: TypeAlias = dict[str, Any]


def _query(name: str, schema: Document, text: str) -> Document:
    return {"name": name, "in": "query", "schema": {**schema, "description": text}}


def _text(operation_id: str, summary: str, description: str) -> Document:
    return {
        "operationId": operation_id,
        "summary": summary,
        "description": description,
        "tags": ["Health"],
        "responses": {"200": {"description": "Yes.", "content": {"text/plain": {}}}},
    }


_STATUS = {"$ref": "#/components/schemas/ThumbnailStatus"}
_STREAM = {"type": "string", "pattern": "^[0-9A-Za-z-]{16,64}$"}
_THUMBNAILS = "False: no events of models, for who watches the queue alone."
_QUEUE = (
    "Also events named queue with the counters of the whole queue, and heartbeats that say whether there is a server."
)
_PROGRESS = "Also events named progress: how far the jobs under way have come."
_NOTIFICATIONS: Document = {
    "operationId": "Notifications",
    "summary": "Notifications as they happen: Server-Sent Events, or JSON lines",
    "description": (
        "An event named thumbnail tells how a model stands. Its id is a cursor: a client that comes back with it misses"
        " nothing. When the log no longer reaches back to it, one event named reset has the cursor to go on from; load"
        " what you show again. A comment every 15 seconds shows that the connection is alive. With `Accept:"
        " application/x-ndjson`, each event is a JSON object on a line.\n\n"
        "  id: 532ea9ad-1\n"
        "  event: thumbnail\n"
        '  data: {"modelId":42,"jobId":1,"status":"Pending","thumbnailUrl":null,"errorMessage":null,"attemptCount":0,'
        '"willRetry":false,"timestamp":"2026-11-23T14:19:09.836482Z"}\n\n'
        "Try it with `curl -N 'http://localhost:5009/api/notifications?after=earliest'`."
    ),
    "tags": ["Notification"],
    "parameters": [
        _query(
            "modelId",
            {"type": "array", "items": {"type": "integer"}},
            "Only events of these models, several times or with commas.",
        ),
        _query("status", {"type": "array", "items": _STATUS}, "Only events with these statuses, likewise."),
        _query(
            "after",
            {"type": "string", "examples": ["earliest", "latest", "5f0c21ab-42"]},
            "The id of an event; earliest: all that the log has; latest, or nothing: from now on.",
        ),
        _query("thumbnails", {"type": "boolean", "default": True}, _THUMBNAILS),
        _query("queue", {"type": "boolean"}, _QUEUE),
        _query("progress", {"type": "boolean"}, _PROGRESS),
        _query("stream", _STREAM, "A name that nobody can guess, under which the models of the stream can be changed."),
        {
            "name": "Last-Event-ID",
            "in": "header",
            "schema": {"type": "string", "description": "As after, and before it. Browsers send it by themselves."},
        },
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
    "description": "Each part of the body means what the parameter of GET does, and may be left out.",
    "requestBody": {
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "properties": {
                        "modelIds": {"type": "array", "items": {"type": "integer"}, "maxItems": MOST_MODELS},
                        "statuses": {"type": "array", "items": _STATUS},
                        "after": {"type": "string"},
                        "thumbnails": {"type": "boolean", "default": True},
                        "queue": {"type": "boolean"},
                        "progress": {"type": "boolean"},
                    },
                },
                "example": {"modelIds": [42, 43], "statuses": ["Ready"], "after": "532ea9ad-1"},
            }
        }
    },
}
CHANGED_SUBSCRIPTION: Document = {
    "operationId": "ChangeModels",
    "summary": "Other models for a stream that was opened under a name (stream=...), without a new connection",
    "description": "Load the state of the new models after the answer, and no change is missed.",
    "tags": ["Notification"],
    "requestBody": {
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "properties": {
                        "stream": _STREAM,
                        "modelIds": {
                            "type": "array",
                            "items": {"type": "integer"},
                            "minItems": 1,
                            "maxItems": MOST_MODELS,
                        },
                    },
                    "required": ["stream", "modelIds"],
                },
                "example": {"stream": "5f0c21ab-63d7-4a0e-8f5c-2b1c7d9e0a44", "modelIds": [42, 43]},
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
    "description": "The last good one of the model. GetThumbnail has its address, with the picture's version.",
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
    "/healthz": _text("Healthz", "200 while the gateway lives", "For the probe that restarts a gateway."),
    "/readyz": _text(
        "Readyz", "200 while the server behind it serves", "503 otherwise, with the reason: send callers elsewhere."
    ),
    "/metrics": _text("Metrics", "Counters for Prometheus", "Of this gateway; the server has its own."),
}
