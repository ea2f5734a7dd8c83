"""The door before every route: the caller shows its key, and the table of roles decides."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping

import grpc
from aiohttp import web

from thumbq_gateway.access.callers import Callers
from thumbq_gateway.http.errors import Refusal
from thumbq_gateway.http.lasting import LastingResponse
from thumbq_gateway.http.requests.caller import GUARDED, note_caller
from thumbq_gateway.http.requests.tickets import TICKET, ticket_in_address
from thumbq_runtime.access.api_keys import Fingerprint, fingerprint_of, presented_key
from thumbq_runtime.access.on_behalf import Origin
from thumbq_runtime.access.roles import EVERYONE, Role, Roles
from thumbq_runtime.access.tickets import Ticket, is_ticket
from thumbq_runtime.tls.roles import ClientRoles, name_in_request

COOKIE = "thumbq_key"
# The fingerprint of a request's key.
KEY: web.RequestKey[Fingerprint | None] = web.RequestKey("key", Fingerprint | None)  # type: ignore[arg-type]
# Stands for the key of a caller that needs none on this route.
VOUCHED = Fingerprint("", b"")
_BEGUN = web.RequestKey("begun", bool)
# A page may come before the server: its stream waits for it, and ends when the server says that its key is not valid.
_MAY_COME_EARLY = {("GET", "/api/notifications"), ("POST", "/api/notifications")}
_NO_KEY = "This needs an API key: send it as `Authorization: Bearer KEY` or `X-Api-Key: KEY`."
WRONG_KEY = "The API key is not valid: it is unknown, revoked or expired."
_ENDED = "The API key or the ticket of this request has ended."
_WRONG_TICKET = "The ticket is not valid: it is forged or over, or the key that it was made with has ended."
_NOT_BY_TICKET = "A ticket is for reading thumbnails and their changes, and for nothing else."

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
RouteKey = tuple[str, str]
# A key that is no header's: the one with which a connection was negotiated, or what a route takes in place of a key.
Otherwise = Callable[[web.Request], Awaitable[Fingerprint | bool]]


class Door:
    """The middleware, and the requests under way, which end with their key or their ticket."""

    def __init__(
        self,
        callers: Callers,
        roles: Mapping[RouteKey, Roles],
        otherwise: Mapping[RouteKey, Otherwise],
        client_roles: ClientRoles,
        address_of: Callable[[web.Request], str],
        count_stranger: Callable[[web.Request], Awaitable[None]],
    ) -> None:
        """`otherwise` asks a route of those in `roles` about a request without a key.

        `client_roles` are those of callers that show a certificate and no key.
        `count_stranger` counts a request that shows nothing valid, or raises Refusal for too many.
        """
        self._client_roles = client_roles
        self._address_of = address_of
        self._count_stranger = count_stranger
        self._callers = callers
        self._roles = roles
        self._otherwise = otherwise
        self._under_way: dict[Fingerprint | None, set[_UnderWay]] = {}
        callers.on_change = self.look

    @web.middleware
    async def admit(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Answer the request if its caller may make it. Raises Refusal."""
        route = route_key(request)
        roles = self._roles.get(route) if route else EVERYONE  # a path without a route is answered by 404
        if roles is None:
            raise LookupError(f"{route} has no row in the table of roles")
        if roles == EVERYONE:
            return await handler(request)
        try:
            key = await self._admitted(request, roles, self._otherwise.get(route) if route else None)
        except Refusal as refusal:
            self._note(request, refusal)
            if refusal.code is grpc.StatusCode.UNAUTHENTICATED:
                await self._count_stranger(request)
            raise
        certificate = self._name_in_certificate(request) if key is VOUCHED else None
        stranger = "yes" if key is VOUCHED and not self._role_by_certificate(request) else ""
        note_caller(Origin(key.prefix if key else "", certificate or "", self._address_of(request), stranger))
        if not self._callers.are_all_admitted:
            request[GUARDED] = True
        if key is VOUCHED:  # by its job or its certificate: no key can end this request
            return await handler(request)
        ticket = request.get(TICKET)
        if ticket is None:
            request[KEY] = key
        return await self._serve(request, handler, _UnderWay(self, key, ticket))

    async def _serve(self, request: web.Request, handler: Handler, under_way: "_UnderWay") -> web.StreamResponse:
        """Serve the request until it is answered, or its key or its ticket ends. Raises Refusal."""
        lasts = False
        try:
            response = await handler(request)
            if isinstance(response, LastingResponse):
                lasts = True
                response.at_end(under_way.leave)
            return response
        except asyncio.CancelledError:
            if not under_way.takes_back_its_end():
                raise
            if request.get(_BEGUN):  # too late for a status: the connection ends, and the next attempt gets one
                request.protocol.force_close()
                raise asyncio.CancelledError from None
            raise Refusal(grpc.StatusCode.UNAUTHENTICATED, _ENDED) from None
        finally:
            if not lasts:
                under_way.leave()

    async def _admitted(self, request: web.Request, roles: Roles, otherwise: Otherwise | None) -> Fingerprint | None:
        """Return the key of a caller that may do this, or VOUCHED. Raises Refusal."""
        shown = presented_key(request.headers.get)
        ticket = shown if shown and is_ticket(shown) else shown is None and ticket_in_address(request)
        if ticket:
            return await self._admitted_by_ticket(request, ticket, roles)
        shown = shown or request.cookies.get(COOKIE)
        key = fingerprint_of(shown) if shown else None
        if not shown and (by_certificate := self._role_by_certificate(request)):
            if by_certificate not in roles:
                message = f"A certificate of the role {by_certificate} may not do this."
                raise Refusal(grpc.StatusCode.PERMISSION_DENIED, message)
            return VOUCHED
        try:
            role = await self._callers.role_of(key)
        except grpc.aio.AioRpcError:
            if self._callers.always_needed or route_key(request) not in _MAY_COME_EARLY:
                raise
            return key
        if role is None and not shown and otherwise:
            await self._count_stranger(request)  # what vouches for it is asked of the server
            found = await otherwise(request)
            if found is True:
                return VOUCHED
            key = found or None
            role = await self._callers.role_of(key)
        if role is None:
            raise Refusal(grpc.StatusCode.UNAUTHENTICATED, WRONG_KEY if shown else _NO_KEY)
        if role not in roles:
            raise Refusal(grpc.StatusCode.PERMISSION_DENIED, f"A key of the role {role} may not do this.")
        return key

    def _note(self, request: web.Request, refusal: Refusal) -> None:
        """Record a refusal. Only a key that is valid is named."""
        if refusal.http_status not in {401, 403}:
            return
        shown = presented_key(request.headers.get) or request.cookies.get(COOKIE)
        key = fingerprint_of(shown) if shown and refusal.http_status == 403 else None
        resource = request.match_info.route.resource
        action = f"{request.method} {resource.canonical if resource else ''}"
        self._callers.noted.refusal(key.prefix if key else "", self._address_of(request), action, refusal.message)

    async def _admitted_by_ticket(self, request: web.Request, text: str, roles: Roles) -> Fingerprint | None:
        """Return the key with which the ticket of a request was made. Raises Refusal."""
        ticket = await self._callers.ticket(text)
        if ticket is None or await self._callers.role_of(ticket.key) is None:
            raise Refusal(grpc.StatusCode.UNAUTHENTICATED, _WRONG_TICKET)
        if Role.TICKET not in roles:
            raise Refusal(grpc.StatusCode.PERMISSION_DENIED, _NOT_BY_TICKET)
        request[TICKET] = ticket
        return ticket.key

    def _role_by_certificate(self, request: web.Request) -> Role | None:
        return self._client_roles.role_of(self._name_in_certificate(request))

    def _name_in_certificate(self, request: web.Request) -> str | None:
        if not self._client_roles.rows or request.transport is None:
            return None
        return name_in_request(request.transport.get_extra_info("peercert"))

    def enter(self, key: Fingerprint | None, request: "_UnderWay") -> None:
        """End the request when its key ends."""
        self._under_way.setdefault(key, set()).add(request)

    def leave(self, key: Fingerprint | None, request: "_UnderWay") -> None:
        """Forget a request that is over."""
        requests = self._under_way.get(key, set())
        requests.discard(request)
        if not requests:
            self._under_way.pop(key, None)

    def look(self) -> None:
        """End the requests of keys that are no longer valid."""
        for key, requests in list(self._under_way.items()):
            if not self._callers.still_admits(key):
                for request in list(requests):
                    request.end()


class _UnderWay:
    """A request of the current task, which ends with its key or its ticket."""

    __slots__ = ("_door", "_is_ended", "_key", "_task", "_timer")

    def __init__(self, door: Door, key: Fingerprint | None, ticket: Ticket | None) -> None:
        task = asyncio.current_task()
        assert task
        self._task = task
        self._door = door
        self._key = key
        self._is_ended = False
        self._timer = None
        if ticket:
            life = max(0.0, ticket.ends_at - time.time())
            self._timer = asyncio.get_running_loop().call_later(life, self.end)
        door.enter(key, self)

    def end(self) -> None:
        """Cancel the request: its key or its ticket is no longer valid."""
        if not self._is_ended:
            self._is_ended = True
            self._task.cancel()

    def takes_back_its_end(self) -> bool:
        """Return whether the request was cancelled because of its key. Then it is no longer."""
        if self._is_ended:
            self._task.uncancel()
        return self._is_ended

    def leave(self) -> None:
        """Let the request go on without its key: it is over."""
        self._door.leave(self._key, self)
        if self._timer:
            self._timer.cancel()


def route_key(request: web.Request) -> RouteKey | None:
    """Return the method and the path of the request's route, or None when there is no route for it."""
    route = request.match_info.route
    if route.resource is None:
        return None
    return "GET" if route.method == "HEAD" else route.method, route.resource.canonical


async def note_begin(request: web.Request, _response: web.StreamResponse) -> None:
    """Remember that the response has begun."""
    request[_BEGUN] = True
