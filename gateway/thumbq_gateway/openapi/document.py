"""The OpenAPI 3.1 document, made from the route table."""

import re
from importlib.metadata import version
from typing import Any

from google.protobuf.descriptor import FieldDescriptor

from thumbq_gateway.http.errors import status_response
from thumbq_gateway.openapi.other_routes import CHANGED_SUBSCRIPTION, OTHER_ROUTES, POSTED_SUBSCRIPTION, Document
from thumbq_gateway.openapi.schemas import Schema, Schemas
from thumbq_gateway.transcoding.contract import CLAUSES, GENERAL, error_object, plain_text
from thumbq_gateway.transcoding.routes import Route, Table

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


def openapi_document(table: Table) -> Document:
    """Return the whole document."""
    schemas = Schemas()
    schemas.components["Status"] = _STATUS
    paths: dict[str, Document] = {}
    for routes in table.values():
        for route in routes:
            operation = _operation(route, table, schemas)
            paths.setdefault(_json_path(route), {})[route.http_method.lower()] = operation
    for path, operation in OTHER_ROUTES.items():
        paths[path] = {"get": operation}
    paths["/api/notifications"]["post"] = POSTED_SUBSCRIPTION
    paths["/api/notifications/models"] = {"post": CHANGED_SUBSCRIPTION}
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
            body = {"oneOf": [body, _body(table[clause.batch.rpc][0], schemas)]}
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
