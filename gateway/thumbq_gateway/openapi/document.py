"""The API in the words of OpenAPI 3.1, made from the route table."""

import re
from collections.abc import Iterator
from importlib.metadata import version
from typing import Any, TypeAlias

from google.protobuf.descriptor import FieldDescriptor

from thumbq_gateway.http.errors import status_response
from thumbq_gateway.openapi.schemas import Schema, Schemas
from thumbq_gateway.transcoding.contract import CLAUSES, GENERAL, error_object, plain_text
from thumbq_gateway.transcoding.endpoint import Table
from thumbq_gateway.transcoding.routes import Route

Document: TypeAlias = dict[str, Any]

_WORD = re.compile(r"(?<=[a-z])(?=[A-Z])")
_ERRORS: dict[Any, Document] = {
    plain_text: {"text/plain": {"schema": {"type": "string"}}},
    error_object: {"application/json": {"schema": {"type": "object", "properties": {"error": {"type": "string"}}}}},
    status_response: {"application/json": {"schema": {"$ref": "#/components/schemas/Status"}}},
}
_STATUS: Schema = {
    "type": "object",
    "description": "google.rpc.Status",
    "properties": {
        "code": {"type": "integer"},
        "message": {"type": "string"},
        "status": {"type": "string"},
    },
}
_MODEL_ID: Document = {
    "name": "modelId",
    "in": "path",
    "required": True,
    "schema": {"type": "integer", "format": "int64"},
}


def openapi_document(table: Table) -> Document:
    """The whole document."""
    schemas = Schemas()
    schemas.components["Status"] = _STATUS
    paths: dict[str, Document] = {}
    for routes in table.values():
        for route in routes:
            operation = _operation(route, table, schemas)
            paths.setdefault(_json_path(route), {})[route.http_method.lower()] = operation
    for path, operation in _unannotated():
        paths[path] = {"get": operation}
    return {
        "openapi": "3.1.0",
        "info": {"title": "thumbq", "version": version("thumbq")},
        "paths": dict(sorted(paths.items())),
        "components": {"schemas": schemas.components},
    }


def _operation(route: Route, table: Table, schemas: Schemas) -> Document:
    clause = CLAUSES.get(route.name, GENERAL)
    shown = schemas.reference(route.shown_type)
    if clause.shown_fields:
        shown = _nullable(schemas, route, clause.shown_fields)
    operation: Document = {
        "operationId": route.rpc.name,
        "summary": _WORD.sub(" ", route.rpc.name).capitalize(),
        "tags": [route.rpc.containing_service.name.removesuffix("Service")],
        "parameters": _parameters(route, schemas),
        "responses": {
            "200": {"description": "Done.", "content": {"application/json": {"schema": shown}}},
            **{str(status): {"description": text} for status, text in clause.other_answers.items()},
            "default": {"description": "Refused or failed.", "content": _ERRORS[clause.refuse]},
        },
    }
    if route.takes_body:
        body = _body(route, schemas)
        if clause.batch:
            body = {"oneOf": [body, _body(table[clause.batch[1]][0], schemas)]}
        operation["requestBody"] = {"content": {"application/json": {"schema": body}}}
    return operation


def _json_path(route: Route) -> str:
    path = route.path
    for field in _path_fields(route):
        path = path.replace(f"{{{field.name}}}", f"{{{field.json_name}}}")
    return path


def _path_fields(route: Route) -> list[FieldDescriptor]:
    return [field for field in route.request_type.fields if field.name in route.path_fields]


def _body(route: Route, schemas: Schemas) -> Schema:
    if not route.path_fields:
        return schemas.reference(route.request_type)
    return schemas.inline(field for field in route.request_type.fields if field.name not in route.path_fields)


def _parameters(route: Route, schemas: Schemas) -> list[Document]:
    in_path = _path_fields(route)
    described = [
        {"name": field.json_name, "in": "path", "required": True, "schema": schemas.field(field)} for field in in_path
    ]
    if not route.takes_body:
        described += [
            {"name": field.json_name, "in": "query", "schema": schemas.field(field)}
            for field in route.request_type.fields
            if field not in in_path
        ]
    return described


def _nullable(schemas: Schemas, route: Route, names: tuple[str, ...]) -> Schema:
    by_name = {field.json_name: field for field in route.shown_type.fields}
    properties = {name: {"anyOf": [schemas.field(by_name[name]), {"type": "null"}]} for name in names}
    return {"type": "object", "properties": properties, "required": list(names)}


def _unannotated() -> Iterator[tuple[str, Document]]:
    """What no RPC stands behind, or none alone."""
    yield (
        "/api/notifications",
        {
            "operationId": "Notifications",
            "summary": "What happens, as it happens: Server-Sent Events, or JSON lines",
            "tags": ["Notification"],
            "parameters": [
                _query("modelId", {"type": "array", "items": {"type": "integer"}}),
                _query("status", {"type": "array", "items": {"$ref": "#/components/schemas/ThumbnailStatus"}}),
                _query("after", {"type": "string", "examples": ["earliest", "latest", "5f0c21ab-42"]}),
                _query("queue", {"type": "boolean"}),
                {"name": "Last-Event-ID", "in": "header", "schema": {"type": "string"}},
            ],
            "responses": {
                "200": {
                    "description": "A stream without an end.",
                    "content": {"text/event-stream": {}, "application/x-ndjson": {}},
                },
                "503": {
                    "description": "There are as many listeners as there may be; Retry-After says when to ask again."
                },
            },
        },
    )
    yield (
        "/models/{modelId}/thumbnail/file",
        {
            "operationId": "ThumbnailFile",
            "summary": "The picture",
            "tags": ["Notification"],
            "parameters": [_MODEL_ID],
            "responses": {
                "200": {"description": "The file.", "content": {"image/*": {}}},
                "206": {"description": "A range of it."},
                "304": {"description": "The caller's copy is still right."},
                "404": {"description": "There is none."},
            },
        },
    )
    for path, summary in {
        "/healthz": "200 while the gateway lives",
        "/readyz": "200 while the server behind it serves",
        "/metrics": "Counters for Prometheus",
    }.items():
        operation_id = path.removeprefix("/").capitalize()
        answer = {"200": {"description": "Yes.", "content": {"text/plain": {}}}}
        yield path, {"operationId": operation_id, "summary": summary, "tags": ["Health"], "responses": answer}


def _query(name: str, schema: Schema) -> Document:
    return {"name": name, "in": "query", "schema": schema}
