"""The live page and the files that it loads."""

from pathlib import Path

from aiohttp import web

FOLDER = Path(__file__).parent.parent / "static"
HEADERS = {
    "Cache-Control": "no-cache",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
}
CONTENT_POLICY = "default-src 'self'; object-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"


def page_routes() -> list[web.RouteDef]:
    """Return the routes of the page (/) and of its files (/static/)."""
    return [web.get("/", _index), web.get("/static/{path:.+}", _static)]


async def _index(_request: web.Request) -> web.FileResponse:
    return _file(FOLDER / "live" / "index.html")


async def _static(request: web.Request) -> web.FileResponse:
    path = FOLDER.joinpath(request.match_info["path"]).resolve()
    if not path.is_relative_to(FOLDER.resolve()) or not path.is_file():
        raise web.HTTPNotFound
    return _file(path)


def _file(path: Path) -> web.FileResponse:
    return web.FileResponse(path, headers={**HEADERS, "Content-Security-Policy": CONTENT_POLICY})
