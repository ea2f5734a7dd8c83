"""The live page, the operator's console, and the files that they load."""

from pathlib import Path

from aiohttp import web

FOLDER = Path(__file__).parent.parent / "static"
HEADERS = {"Cache-Control": "no-cache"}
CONTENT_POLICY = "default-src 'self'; object-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
# No request can name any other file.
_FILES = {path.relative_to(FOLDER).as_posix(): path for path in FOLDER.rglob("*") if path.is_file()}


def page_routes() -> list[web.RouteDef]:
    """Return the routes of the pages (/ and /console) and of their files (/static/)."""
    return [web.get("/", _live), web.get("/console", _console), web.get("/static/{path:.+}", _static)]


async def _live(_request: web.Request) -> web.FileResponse:
    return _file(FOLDER / "live" / "index.html")


async def _console(_request: web.Request) -> web.FileResponse:
    return _file(FOLDER / "console" / "index.html")


async def _static(request: web.Request) -> web.FileResponse:
    if path := _FILES.get(request.match_info["path"]):
        return _file(path)
    raise web.HTTPNotFound


def _file(path: Path) -> web.FileResponse:
    return web.FileResponse(path, headers={**HEADERS, "Content-Security-Policy": CONTENT_POLICY})
