"""The connections of each address, bounded: one more is answered 429 and closed, before it has sent anything."""

import asyncio

from aiohttp import web
from aiohttp.web_protocol import RequestHandler

from thumbq_runtime.limits.bounds import Bounds, Place, TooMany
from thumbq_runtime.limits.callers import Network, is_within, site_of
from thumbq_runtime.limits.rates import Kind

_ANSWER = """HTTP/1.1 429 Too Many Requests\r
Content-Type: text/plain; charset=utf-8\r
Content-Length: {length}\r
Retry-After: {retry_after}\r
Connection: close\r
\r
{text}"""


def bound_connections(server: web.Server, bounds: Bounds, proxies: tuple[Network, ...]) -> None:
    """Count the connections of a server. A trusted proxy has those of many callers, and is not counted."""
    places: dict[RequestHandler, Place] = {}
    made, lost = server.connection_made, server.connection_lost

    def connection_made(handler: RequestHandler, transport: asyncio.Transport) -> None:
        peer = transport.get_extra_info("peername")
        if peer and not is_within(peer[0], proxies):
            try:
                places[handler] = bounds.take(site_of(peer[0]), Kind.CONNECTIONS)
            except TooMany as too_many:
                transport.write(_refusal(too_many))
                handler.force_close()
                return
        made(handler, transport)

    def connection_lost(handler: RequestHandler, exc: BaseException | None = None) -> None:
        if place := places.pop(handler, None):
            place.give_up()
        lost(handler, exc)

    # aiohttp calls both for every connection, and has no other place to stand in.
    server.connection_made, server.connection_lost = connection_made, connection_lost  # type: ignore[method-assign]


def _refusal(too_many: TooMany) -> bytes:
    text = f"{too_many}\n"
    return _ANSWER.format(length=len(text), retry_after=too_many.retry_after, text=text).encode()
