"""The /docs page, made once from the OpenAPI document. It loads nothing from other hosts."""

import json
from collections.abc import Iterator, Mapping
from html import escape
from typing import Any

from aiohttp import web

from thumbq_gateway.http.pages import CONTENT_POLICY, HEADERS
from thumbq_gateway.protojson.encoder import json_bytes

_HEAD = """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>thumbq API</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="icon" href="/static/shared/icon.svg"><link rel="stylesheet" href="/static/shared/colours.css">
<link rel="stylesheet" href="/static/docs/docs.css">
<script type="module" src="/static/docs/try.js"></script></head><body><main><h1>thumbq API</h1>"""
_KEY = """<label>API key <small>for the calls that are tried here. A queue without keys needs none, and neither does
who has signed in at the <a href="/console">console</a>.</small>
<input id="key" type="password" autocomplete="off"></label>"""
_SHOWN = {"application/json", "text/plain"}  # what an answer can be that the page shows


def docs_routes(document: Mapping[str, Any]) -> list[web.RouteDef]:
    """Return the routes of the document (/openapi.json) and of the page (/docs)."""
    body = json_bytes(document)
    page = "".join(_page(document))

    async def openapi(_request: web.Request) -> web.Response:
        return web.Response(body=body, headers=HEADERS, content_type="application/json")

    async def docs(_request: web.Request) -> web.Response:
        headers = {**HEADERS, "Content-Security-Policy": CONTENT_POLICY}
        return web.Response(text=page, headers=headers, content_type="text/html")

    # the second is where ASP.NET has it, and where workers look for it
    return [*[web.get(path, openapi) for path in ("/openapi.json", "/openapi/v1.json")], web.get("/docs", docs)]


def _page(document: Mapping[str, Any]) -> Iterator[str]:
    about = document["info"]
    yield f"{_HEAD}<p>Version {escape(about['version'])}. The same for programs: "
    yield '<a href="/openapi.json">openapi.json</a>.</p>'
    yield _paragraphs(about["description"])
    yield _KEY
    operations = [
        (operation["tags"][0], path, method, operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    ]
    for tag in dict.fromkeys(tag for tag, *_ in operations):
        yield f"<h2>{escape(tag)}</h2>"
        for _, path, method, operation in (entry for entry in operations if entry[0] == tag):
            yield f'<details id="{escape(operation["operationId"])}"><summary><b>{method.upper()}</b> '
            yield f"<code>{escape(path)}</code> <span>{escape(operation['summary'])}</span></summary>"
            yield f"{_operation(method, path, operation)}</details>"
    yield "<h2>Types</h2>"
    for name, schema in sorted(document["components"]["schemas"].items()):
        yield f'<details id="{escape(name)}"><summary><code>{escape(name)}</code></summary>'
        yield f"{_paragraphs(schema.get('description', ''))}{_fields(schema)}</details>"
    yield "</main></body></html>"


def _operation(method: str, path: str, operation: Mapping[str, Any]) -> str:
    responses = operation["responses"]
    listed = "".join(
        f"<tr><td>{escape(status)}</td><td>{escape(response['description'])}</td><td>{_types(response)}</td></tr>"
        for status, response in responses.items()
    )
    answer = _content(responses.get("200", {})).get("example")
    example = "" if answer is None else f"<h3>An answer</h3>{_listing(answer)}"
    return (
        f"{_paragraphs(operation.get('description', ''))}{_request(method, path, operation)}"
        f"<h3>Answers</h3><table>{listed}</table>{example}"
    )


def _request(method: str, path: str, operation: Mapping[str, Any]) -> str:
    """Return the parameters and the body as a form. It sends them unless the answer is a picture or has no end."""
    inputs = "".join(_input(parameter) for parameter in operation.get("parameters", ()))
    body = _content(operation.get("requestBody", {}))
    if body:
        example = json.dumps(body.get("example", {}), indent=2)
        inputs += f"<label>Body {_type(body['schema'])}<textarea name=body rows={example.count(chr(10)) + 1}>"
        inputs += f"{escape(example)}</textarea></label>"
    is_shown = _SHOWN.issuperset(operation["responses"].get("200", {}).get("content", ()))
    button = "<button>Send</button><output></output>" if is_shown else ""
    return f'<form data-method="{method}" data-path="{escape(path)}">{inputs}{button}</form>'


def _input(parameter: Mapping[str, Any]) -> str:
    name, place = escape(parameter["name"]), parameter["in"]
    required = " required" if parameter.get("required") else ""
    text = escape(parameter["schema"].get("description", ""))
    return (
        f"<label>{name} <small>{_type(parameter['schema'])} in the {place}. {text}</small>"
        f'<input name="{name}" data-in="{place}"{required}></label>'
    )


def _fields(schema: Mapping[str, Any]) -> str:
    if "enum" in schema:
        return f"<p>{', '.join(f'<code>{escape(word)}</code>' for word in schema['enum'])}</p>"
    rows = "".join(
        f"<tr><td><code>{escape(name)}</code></td><td>{_type(field)}</td>"
        f"<td>{escape(field.get('description', ''))}</td></tr>"
        for name, field in schema.get("properties", {}).items()
    )
    return f"<table>{rows}</table>"


def _type(schema: Mapping[str, Any]) -> str:
    """Return a schema in a few words, with links to the types."""
    if "$ref" in schema:
        name = escape(schema["$ref"].rpartition("/")[2])
        return f'<a href="#{name}">{name}</a>'
    if "anyOf" in schema:
        return " or ".join(_type(choice) for choice in schema["anyOf"])
    if schema.get("type") == "array":
        return f"list of {_type(schema['items'])}"
    return escape(schema.get("format") or schema.get("type") or "anything")


def _types(response: Mapping[str, Any]) -> str:
    return ", ".join(
        f"{escape(kind)}: {_type(content['schema'])}" if "schema" in content else escape(kind)
        for kind, content in response.get("content", {}).items()
    )


def _content(part: Mapping[str, Any]) -> Mapping[str, Any]:
    content: Mapping[str, Any] = part.get("content", {}).get("application/json", {})
    return content


def _paragraphs(text: str) -> str:
    """Return the paragraphs of a comment; drawings keep their lines."""
    return "".join(
        f"<pre>{escape(part)}</pre>" if part.startswith("  ") else f"<p>{escape(part)}</p>"
        for part in text.split("\n\n")
        if part
    )


def _listing(value: object) -> str:
    return f"<pre>{escape(json.dumps(value, indent=2, ensure_ascii=False))}</pre>"
