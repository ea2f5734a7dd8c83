"""The /docs page, made once from the OpenAPI document. It loads nothing."""

import base64
import hashlib
import json
from collections.abc import Iterator, Mapping
from html import escape
from typing import Any

from aiohttp import web

from thumbq_gateway.http.pages import HEADERS
from thumbq_gateway.protojson.encoder import json_bytes

_STYLE = """
:root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif; }
body { max-width: 60rem; margin: 0 auto; padding: 1.5rem 1rem 4rem; }
h1, h2 { line-height: 1.2; } h2 { margin-top: 2.5rem; }
details { border-top: 1px solid light-dark(#ddd, #444); padding: .5rem 0; }
summary { cursor: pointer; display: flex; flex-wrap: wrap; gap: .25rem .75rem; align-items: baseline; }
summary span { color: light-dark(#555, #aaa); }
code, pre { font: .9rem/1.45 ui-monospace, monospace; }
pre { overflow-x: auto; padding: .75rem; border-radius: .4rem; background: light-dark(#f4f4f2, #1d1f22); }
b { min-width: 3.2rem; color: light-dark(#3a55cf, #93a5ff); }
"""
_STYLE_HASH = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
_POLICY = f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; base-uri 'none'; frame-ancestors 'none'"


def docs_routes(document: Mapping[str, Any]) -> list[web.RouteDef]:
    """Return the routes of the document (/openapi.json) and of the page (/docs)."""
    body = json_bytes(document)
    page = "".join(_page(document))

    async def openapi(_request: web.Request) -> web.Response:
        return web.Response(body=body, headers=HEADERS, content_type="application/json")

    async def docs(_request: web.Request) -> web.Response:
        headers = {**HEADERS, "Content-Security-Policy": _POLICY}
        return web.Response(text=page, headers=headers, content_type="text/html")

    # the second is where ASP.NET has it, and where workers look for it
    return [*[web.get(path, openapi) for path in ("/openapi.json", "/openapi/v1.json")], web.get("/docs", docs)]


def _page(document: Mapping[str, Any]) -> Iterator[str]:
    yield '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>thumbq API</title>'
    yield '<meta name="viewport" content="width=device-width, initial-scale=1">'
    yield f"<style>{_STYLE}</style></head><body><h1>thumbq API</h1>"
    yield '<p>Version {}. The same for programs: <a href="/openapi.json">openapi.json</a>.</p>'.format(
        escape(document["info"]["version"])
    )
    operations = [
        (operation["tags"][0], path, method, operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    ]
    for tag in dict.fromkeys(tag for tag, *_ in operations):
        yield f"<h2>{escape(tag)}</h2>"
        for _, path, method, operation in (entry for entry in operations if entry[0] == tag):
            yield f"<details><summary><b>{method.upper()}</b> <code>{escape(path)}</code>"
            yield f" <span>{escape(operation['summary'])}</span></summary>{_details(operation)}</details>"
    yield "<h2>Types</h2>"
    for name, schema in sorted(document["components"]["schemas"].items()):
        yield f"<details><summary><code>{escape(name)}</code></summary>{_listing(schema)}</details>"
    yield "</body></html>"


def _details(operation: Mapping[str, Any]) -> str:
    parts = {name: operation[name] for name in ("parameters", "requestBody", "responses") if operation.get(name)}
    return _listing(parts)


def _listing(value: object) -> str:
    return f"<pre>{escape(json.dumps(value, indent=2, ensure_ascii=False))}</pre>"
