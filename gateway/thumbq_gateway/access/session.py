"""A key in a cookie, for pages of the gateway's own site: their scripts never see it, and no other site can use it."""

from collections.abc import Callable

import grpc
from aiohttp import web

from thumbq_gateway.access.callers import Callers
from thumbq_gateway.access.door import COOKIE, WRONG_KEY
from thumbq_gateway.http.bodies.body import Bodies
from thumbq_gateway.http.errors import Refusal
from thumbq_runtime.access.api_keys import fingerprint_of

_LARGEST_BODY = 4096
_LONGEST = 30 * 86_400  # seconds


class Session:
    """The handlers."""

    def __init__(self, callers: Callers, bodies: Bodies, address_of: Callable[[web.Request], str]) -> None:
        self._callers = callers
        self._bodies = bodies
        self._address_of = address_of

    def routes(self) -> list[web.RouteDef]:
        """Return the routes."""
        return [web.post("/api/session", self.begin), web.delete("/api/session", self.end)]

    async def begin(self, request: web.Request) -> web.Response:
        """Put a valid key into the cookie."""
        key = await self._bodies.decoded(request, _LARGEST_BODY, _key_in)
        fingerprint = fingerprint_of(key)
        if fingerprint is None or await self._callers.role_of(fingerprint) is None:
            self._callers.noted.refusal("", self._address_of(request), "sign in", WRONG_KEY)
            raise Refusal(grpc.StatusCode.UNAUTHENTICATED, WRONG_KEY)
        self._callers.noted.sign_in(fingerprint.prefix, self._address_of(request))
        response = web.Response(status=204)
        is_secure = "https" in (request.scheme, request.headers.get("X-Forwarded-Proto"))
        response.set_cookie(COOKIE, key, max_age=_LONGEST, httponly=True, samesite="Strict", secure=is_secure, path="/")
        return response

    async def end(self, _request: web.Request) -> web.Response:
        """Forget the key."""
        response = web.Response(status=204)
        response.del_cookie(COOKIE, path="/", httponly=True, samesite="Strict")
        return response


def _key_in(body: object) -> str:
    key = body.get("apiKey") if isinstance(body, dict) else None
    if not isinstance(key, str):
        raise Refusal(grpc.StatusCode.INVALID_ARGUMENT, 'The body must be {"apiKey": "tq_…"}.')
    return key
