"""Calls by HTTP: who makes them, what they count as, and their refusal."""

from collections.abc import Awaitable, Callable, Mapping
from typing import TypeVar

import grpc
from aiohttp import web
from aiohttp.typedefs import Middleware
from google.protobuf.message import Message

from thumbq_gateway.http.errors import Refusal
from thumbq_runtime.limits.bounds import Bounds, Place
from thumbq_runtime.limits.callers import Network, behind_proxies, counted_as, site_of
from thumbq_runtime.limits.calls import kind_of
from thumbq_runtime.limits.rates import Kind, Rates, TooOften

Response = TypeVar("Response", bound=Message)
# Beside the routes of RPCs. Every other route is a read.
_OTHER_ROUTES: dict[tuple[str, str], Kind | None] = {
    ("GET", "/healthz"): None,
    ("GET", "/health"): None,
    ("GET", "/readyz"): None,
    ("GET", "/metrics"): None,
    ("POST", "/models/{model_id}/thumbnail/regenerate"): Kind.ENQUEUES,
    **{("POST", f"{prefix}/thumbnail-jobs/{{job_id}}/finish"): None for prefix in ("", "/api")},
    **{("POST", f"/models/{{model_id}}/thumbnail/{upload}"): None for upload in ("upload", "png-upload")},
}
_UNCOUNTED_METHODS = {"OPTIONS"}  # a browser asks before it reads
_COUNTED = web.RequestKey("counted", bool)


class Calls:
    """Admits calls by address, polls by key and worker, and subscriptions by key. Raises Refusal for too many."""

    def __init__(
        self, rates: Rates, bounds: Bounds, proxies: tuple[Network, ...], key_of: Callable[[web.Request], str]
    ) -> None:
        """`key_of` returns the prefix of the key with which a request was admitted, or ""."""
        self._key_of = key_of
        self._rates = rates
        self._bounds = bounds
        self._proxies = proxies
        # Limits by which workers that asked for jobs were refused, and the seconds that the last of them was told.
        # `access.callers` takes them to the server.
        self.refused_claims: dict[str, int] = {}

    def address(self, request: web.Request) -> str:
        """Return the address that a request comes from."""
        forwarded = request.headers.getall("X-Forwarded-For", ()) if self._proxies else ()
        return behind_proxies(request.remote or "", forwarded, self._proxies)

    def caller(self, request: web.Request) -> str:
        """Return the address that a request counts for."""
        return site_of(self.address(request))

    async def poll(self, request: web.Request, worker: str, ask: Callable[[], Awaitable[Response]]) -> Response:
        """Return the answer to a worker that asks for jobs. Only an answer without one counts."""
        caller = self._key_or_address(request)
        counted = (Kind.WORKER_POLLS, f"{caller} {worker}"), (Kind.POLLS, caller)
        try:
            await self._rates.admit(*counted)
        except TooOften as too_often:
            raise self._refused_claim(too_often) from None
        answer = await ask()
        if answer.ListFields():
            self._rates.give_back(*counted)
        return answer

    async def read(self, caller: str) -> None:
        """Count a read that is no request of its own, such as a call on a connection to a hub."""
        await self._admit((Kind.READS, caller))

    async def stranger(self, request: web.Request) -> None:
        """Count a request as a read that shows no valid key, where its route counts as nothing else."""
        if _COUNTED not in request:
            request[_COUNTED] = True
            await self._admit((Kind.READS, self.caller(request)))

    def subscribe(self, request: web.Request) -> Place:
        """Return the place of a subscription, which its holder gives up in the end."""
        try:
            return self._bounds.take(self._key_or_address(request), Kind.SUBSCRIPTIONS)
        except TooOften as too_many:
            raise _refusal(too_many) from None

    def wait(self, request: web.Request, *, for_jobs: bool) -> Place:
        """Return the place of a call that may wait, which its holder gives up in the end."""
        try:
            return self._bounds.take(self._key_or_address(request), Kind.WAITING_CALLS)
        except TooOften as too_many:
            raise (self._refused_claim if for_jobs else _refusal)(too_many) from None

    def middleware(self, rpcs: Mapping[tuple[str, str], str]) -> Middleware:
        """Return the middleware that counts all but polls and reports. `rpcs` has the RPC behind a method and path."""
        kinds = {route: kind_of(rpc) for route, rpc in rpcs.items()} | _OTHER_ROUTES

        @web.middleware
        async def count(
            request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
        ) -> web.StreamResponse:
            resource = request.match_info.route.resource
            method = "GET" if request.method == "HEAD" else request.method
            kind = kinds.get((method, resource.canonical if resource else ""), Kind.READS)
            if kind is not None and kind is not Kind.POLLS and request.method not in _UNCOUNTED_METHODS:
                request[_COUNTED] = True
                await self._admit((kind, self.caller(request)))
            return await handler(request)

        return count

    async def _admit(self, *counted: tuple[Kind, str]) -> None:
        try:
            await self._rates.admit(*counted)
        except TooOften as too_often:
            raise _refusal(too_often) from None

    def _refused_claim(self, too_often: TooOften) -> Refusal:
        """Return the refusal of a worker that asks for jobs, and remember it for the server."""
        self.refused_claims[too_often.kind.value] = too_often.retry_after
        return _refusal(too_often)

    def _key_or_address(self, request: web.Request) -> str:
        return counted_as(self._key_of(request), self.address(request))


def _refusal(too_often: TooOften) -> Refusal:
    return Refusal(grpc.StatusCode.RESOURCE_EXHAUSTED, str(too_often), retry_after=too_often.retry_after)
