"""CORS: the origins whose pages may use the API from a browser."""

from collections.abc import Awaitable, Callable

from aiohttp import web

_EXPOSED = "ETag, Retry-After, Content-Disposition, Content-Range, Accept-Ranges"
_PREFLIGHT = {
    "Access-Control-Allow-Methods": "GET, HEAD, POST, PUT, DELETE",
    # the two of X-… are what SignalR's client sends, those after them what workers and producers send
    "Access-Control-Allow-Headers": "Content-Type, Last-Event-ID, If-None-Match, Cache-Control, Range, If-Range,"
    " X-Requested-With, X-SignalR-User-Agent, Authorization, X-Api-Key, traceparent",
    "Access-Control-Max-Age": "600",
}
_ASKED = "Access-Control-Request-Method"
# On a preflight: whether it asks about a route of ours.
_IS_OURS = web.RequestKey("is_ours", bool)


def allow_origins(app: web.Application, origins: frozenset[str], *, exempt: str | None) -> None:
    """Answer preflights of these origins and mark the responses to them; "*" allows every origin.

    All routes but `exempt`: the application behind has rules of its own.
    """

    def allowed(request: web.Request) -> str | None:
        origin = request.headers.get("Origin")
        return origin if origin and ("*" in origins or origin in origins) else None

    @web.middleware
    async def answer_preflight(
        request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        if request.method == "OPTIONS" and _ASKED in request.headers:
            # By itself it matches the application behind, which takes every method.
            asked = request.clone(method=request.headers[_ASKED])
            request[_IS_OURS] = _is_ours(await app.router.resolve(asked), exempt)
            if allowed(request) and request[_IS_OURS]:
                return web.Response(status=204, headers=_PREFLIGHT)
        return await handler(request)

    async def mark(request: web.Request, response: web.StreamResponse) -> None:
        if not request.get(_IS_OURS, _is_ours(request.match_info, exempt)):
            return
        response.headers.add("Vary", "Origin")
        if origin := allowed(request):
            response.headers["Access-Control-Allow-Origin"] = origin
            if origin in origins:  # a page that only "*" lets in gets no cookies
                response.headers["Access-Control-Allow-Credentials"] = "true"
            response.headers["Access-Control-Expose-Headers"] = _EXPOSED

    if origins:
        app.middlewares.insert(0, answer_preflight)
        app.on_response_prepare.append(mark)


def _is_ours(match: web.UrlMappingMatchInfo, exempt: str | None) -> bool:
    resource = match.route.resource
    return exempt is None or resource is None or resource.canonical != exempt
