"""The OpenAPI 3.1 document, made from the route table."""

from importlib.metadata import version
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor

from thumbq_gateway.http.errors import status_response
from thumbq_gateway.openapi.comments import comment_of, first_sentence
from thumbq_gateway.openapi.examples import EXAMPLES, Example
from thumbq_gateway.openapi.other_routes import CHANGED_SUBSCRIPTION, OTHER_ROUTES, POSTED_SUBSCRIPTION, Document
from thumbq_gateway.openapi.schemas import Schema, Schemas
from thumbq_gateway.transcoding.contract import CLAUSES, GENERAL, Clause, error_object, plain_text
from thumbq_gateway.transcoding.routes import Route, Table

_ABOUT = (
    "The JSON routes of a thumbq gateway. Names are camelCase, times are RFC 3339, and durations are texts such as "
    '"30s". A route may answer 400 (the request is malformed, and the message names the field; or the job or its lease'
    " is in another state), 401 (the queue has API keys, and the call shows none that is valid), 403 (the role of its"
    " key may not do this), 404 (there is no such job), 413 (the body is too large), 429 (the caller calls too often,"
    " or the queue is full), and 503 (the server or its database is away). After a 429 or a 503, repeat the request"
    " when the time in Retry-After is over. After a 4xx, nothing was changed."
)
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
        "info": {"title": "thumbq", "version": version("thumbq"), "description": _ABOUT},
        "paths": dict(sorted(paths.items())),
        "components": {"schemas": schemas.components},
    }


def _operation(route: Route, table: Table, schemas: Schemas) -> Document:
    clause = CLAUSES.get(route.name, GENERAL)
    shown = _shown(route, clause, schemas)
    example = EXAMPLES.get(route.rpc.name, Example(None))
    done = "Done."
    if clause.batch:
        done += f" A body with `{clause.batch.field}` is answered with {table[clause.batch.rpc][0].shown_type.name}."
    operation: Document = {
        "operationId": _operation_id(route, table),
        "summary": first_sentence(comment_of(route.rpc)),
        "description": comment_of(route.rpc),
        "tags": [_tag(route)],
        "parameters": _parameters(route, schemas),
        "responses": {
            "200": {"description": done, "content": _json(shown, example.answer)},
            **{str(status): {"description": text} for status, text in clause.other_answers.items()},
            "default": {"description": "Refused or failed.", "content": _ERRORS[clause.refuse]},
        },
    }
    if route.takes_body:
        body = _body(route, schemas)
        if clause.batch:
            body = {"anyOf": [body, _body(table[clause.batch.rpc][0], schemas)]}
        operation["requestBody"] = {"content": _json(body, example.request)}
    return operation


def _tag(route: Route) -> str:
    return str(route.rpc.containing_service.name).removesuffix("Service")


def _json(schema: Schema, example: object) -> Document:
    return {"application/json": {"schema": schema} if example is None else {"schema": schema, "example": example}}


def _operation_id(route: Route, table: Table) -> str:
    """Return the name of the RPC; its further routes add the field in their path."""
    name = str(route.rpc.name)
    if route == table[route.name][0]:
        return name
    return name + "".join(
        f"By{field.camelcase_name[0].upper()}{field.camelcase_name[1:]}" for field in _path_fields(route)
    )


def _shown(route: Route, clause: Clause, schemas: Schemas) -> Schema:
    """Return the schema of an answer. Where the clause names fields, all of them are there, some with null."""
    if clause.shown_fields:
        of_path = tuple(field.json_name for field in _path_fields(route) if field.json_name in clause.fields_of_path)
        return _nullable(schemas, route.shown_type, clause.shown_fields + of_path)
    if not clause.item_fields:
        return schemas.reference(route.shown_type)
    properties = {field.json_name: schemas.field(field) for field in route.shown_type.fields}
    for field in route.shown_type.fields:
        if field.is_repeated and field.message_type is not None:
            items = _nullable(schemas, field.message_type, clause.item_fields)
            properties[field.json_name] = {"type": "array", "items": items}
    return {"type": "object", "properties": properties}


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


def _nullable(schemas: Schemas, message_type: Descriptor, names: tuple[str, ...]) -> Schema:
    by_name = {field.json_name: field for field in message_type.fields}
    properties = {name: {"anyOf": [schemas.field(by_name[name]), {"type": "null"}]} for name in names}
    return {"type": "object", "properties": properties, "required": list(names)}
