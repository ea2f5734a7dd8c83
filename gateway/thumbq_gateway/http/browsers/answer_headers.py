"""The headers that every answer has, so that no browser takes it for more than it is, and no cache for everybody's.

A handler that needs a wider policy, such as the live page, sets its own header, which stays.
"""

from aiohttp import web

from thumbq_gateway.http.requests.caller import GUARDED

POLICY = "default-src 'none'; frame-ancestors 'none'"
EVERY_ANSWER = {
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": POLICY,
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    # Pages of other origins show pictures, whose handler allows it. They read everything else by CORS or not at all.
    "Cross-Origin-Resource-Policy": "same-origin",
}


def protect_answers(app: web.Application, *, exempt: str | None) -> None:
    """Add the headers to the answers of all routes but `exempt`: the application behind has rules of its own."""

    async def add(request: web.Request, response: web.StreamResponse) -> None:
        resource = request.match_info.route.resource
        if exempt is None or resource is None or resource.canonical != exempt:
            for name, value in EVERY_ANSWER.items():
                response.headers.setdefault(name, value)
            # aiohttp has named itself and its version by now
            response.headers["Server"] = "thumbq"
        if GUARDED in request:  # its caller may keep the answer, and no cache on the way that others use too
            policy = response.headers.get("Cache-Control", "private")
            response.headers["Cache-Control"] = policy.replace("public", "private")

    app.on_response_prepare.append(add)
