"""The HTTP side of one hub: negotiate, and the three transports."""

import contextlib
import secrets
from functools import partial

import grpc
from aiohttp import HttpVersion11, WSMsgType, web
from yarl import URL

from thumbq_gateway.access.door import KEY
from thumbq_gateway.http.bodies.body import Bodies
from thumbq_gateway.http.browsers.foreign_pages import check_origin
from thumbq_gateway.http.errors import Refusal
from thumbq_gateway.http.forwarding import Forwarder
from thumbq_gateway.limits.calls import Calls
from thumbq_gateway.metrics import HubMetrics
from thumbq_gateway.protojson.encoder import json_bytes
from thumbq_gateway.signalr.connection import Connection
from thumbq_gateway.signalr.connections import Connections
from thumbq_gateway.signalr.hubs.hub import Hub
from thumbq_gateway.signalr.messages import received
from thumbq_gateway.signalr.outlets import EventStreamOutlet, Outlet, PollOutlet, WebSocketOutlet
from thumbq_gateway.signalr.protocol import LARGEST_DELIVERY
from thumbq_gateway.signalr.rights import rights_of
from thumbq_gateway.signalr.tokens import Token, Tokens
from thumbq_runtime.access.api_keys import Fingerprint
from thumbq_runtime.limits.bounds import Place

_TRANSPORTS = [
    {"transport": "WebSockets", "transferFormats": ["Text", "Binary"]},
    {"transport": "ServerSentEvents", "transferFormats": ["Text"]},
    {"transport": "LongPolling", "transferFormats": ["Text", "Binary"]},
]
_STREAM_HEADERS = {
    "Content-Type": "text/event-stream",
    "Cache-Control": "no-store, no-transform",
    "X-Accel-Buffering": "no",
}
_POLL_SECONDS = 25.0  # less than what proxies allow for an answer
_FORWARDED = "X-Thumbq-Forwarded"  # set by a gateway that passed the request on: no gateway passes it on twice


class Endpoint:
    """The handlers of one hub."""

    def __init__(
        self,
        hub: Hub,
        connections: Connections,
        tokens: Tokens,
        metrics: HubMetrics,
        forwarder: Forwarder,
        limits: Calls,
        bodies: Bodies,
        *,
        buffer_limit: int,
        origins: frozenset[str],
    ) -> None:
        """`origins` are those whose pages may open a WebSocket, beside the gateway's own."""
        self.home = ""  # where other gateways find this one: host:port, or a URL with TLS; set when it listens
        self._hub = hub
        self._connections = connections
        self._tokens = tokens
        self._metrics = metrics
        self._forwarder = forwarder
        self._limits = limits
        self._bodies = bodies
        self._buffer_limit = buffer_limit
        self._origins = origins

    def routes(self) -> list[web.RouteDef]:
        """Return the routes."""
        path = self._hub.path
        return [
            web.post(f"{path}/negotiate", self.negotiate),
            web.get(path, self.receive, allow_head=False),
            web.post(path, self.send),
            web.delete(path, self.end),
        ]

    @property
    def path(self) -> str:
        """The path of the hub."""
        return self._hub.path

    async def key_of(self, request: web.Request) -> Fingerprint | bool:
        """Return the key with which the connection of a request was negotiated, or False."""
        token = self._tokens.read(request.query.get("id", ""))
        return (token and token.key) or False

    async def negotiate(self, request: web.Request) -> web.Response:
        """Hand out an id and a token. The gateway keeps neither."""
        self._check_room()
        version = request.query.get("negotiateVersion", "0")
        if not (version.isascii() and version.isdigit()):
            return _json({"error": "The negotiateVersion must be a whole number."})
        connection_id, token = self._tokens.issue(self.home, request.get(KEY))
        answer = {"negotiateVersion": min(int(version[:9]), 1), "connectionId": connection_id}
        if answer["negotiateVersion"]:
            answer["connectionToken"] = token
        else:
            answer["connectionId"] = token  # version 0 knows one id only, and the client connects with it
        return _json(answer | {"availableTransports": _TRANSPORTS})

    async def receive(self, request: web.Request) -> web.StreamResponse:
        """Serve the way to the client: a WebSocket, an event stream, or the answer to one poll."""
        if request.headers.get("Upgrade", "").lower() == "websocket":
            return await self._serve_socket(request)
        token = self._token(request)
        if self._elsewhere(request, token):
            return await self._ask_elsewhere(request, token)
        if "text/event-stream" in request.headers.get("Accept", ""):
            return await self._serve_events(request, token)
        return await self._answer_poll(request, token)

    async def send(self, request: web.Request) -> web.StreamResponse:
        """Take the messages of a client without a WebSocket."""
        token = self._token(request)
        connection = self._find(request, token)
        if connection is None:
            return await self._ask_elsewhere(request, token)
        async with received(request, self._bodies) as messages:
            await connection.take(messages)
        return web.Response()

    async def end(self, request: web.Request) -> web.StreamResponse:
        """End the connection of a client that polls."""
        token = self._token(request)
        connection = self._find(request, token)
        if connection is None:
            return await self._ask_elsewhere(request, token)
        connection.end()
        self._connections.leave(connection)
        return web.Response(status=202)

    async def _serve_socket(self, request: web.Request) -> web.StreamResponse:
        check_origin(request, self._origins)  # a browser opens a WebSocket for any page, without a preflight
        connection_id = self._id_of_socket(request)
        with self._limits.subscribe(request) as place:
            return await self._talk(request, connection_id, place)

    async def _talk(self, request: web.Request, connection_id: str, place: Place) -> web.StreamResponse:
        socket = web.WebSocketResponse(compress=False, max_msg_size=LARGEST_DELIVERY)
        await socket.prepare(request)
        transport = request.transport
        if transport is None:
            return socket
        connection = self._connection(connection_id, WebSocketOutlet(socket, transport), place, request)
        try:
            async for message in socket:
                if message.type is WSMsgType.TEXT:
                    await connection.take(message.data)
                elif message.type is WSMsgType.BINARY:
                    await connection.take(message.data.decode(errors="replace"))
        finally:
            connection.ended = True
            self._connections.leave(connection)
        return socket

    async def _serve_events(self, request: web.Request, token: Token) -> web.StreamResponse:
        self._check_new(token)
        if request.version < HttpVersion11:
            raise Refusal(grpc.StatusCode.INVALID_ARGUMENT, "Event streams need HTTP/1.1.")
        response = web.StreamResponse(headers=_STREAM_HEADERS)
        with self._limits.subscribe(request) as place, contextlib.suppress(ConnectionError):
            await response.prepare(request)
            await response.write(b":\r\n\r\n")
            transport = request.transport
            if transport is None:
                return response
            outlet = EventStreamOutlet(transport)
            connection = self._connection(token.connection_id, outlet, place, request)
            try:
                await outlet.ended.wait()
            finally:
                connection.ended = True
                self._connections.leave(connection)
            await response.write_eof()
        return response

    async def _answer_poll(self, request: web.Request, token: Token) -> web.Response:
        connection = self._find(request, token)
        if connection is None:
            self._check_new(token)
            place = self._limits.subscribe(request)
            self._connection(token.connection_id, PollOutlet(request.remote), place, request)
            return web.Response()  # tells the client that it is connected
        outlet = connection.outlet
        if not isinstance(outlet, PollOutlet):
            raise Refusal(grpc.StatusCode.ALREADY_EXISTS, "The connection has another transport.")
        connection.hear()
        records = await outlet.take(_POLL_SECONDS)
        connection.hear()
        if records is None:
            if outlet.ended:
                self._connections.leave(connection)
            return web.Response(status=204)
        return web.Response(body=records, content_type="text/plain", charset="utf-8")

    def _connection(self, connection_id: str, outlet: Outlet, place: Place, request: web.Request) -> Connection:
        hub, metrics, limit = self._hub, self._metrics, self._buffer_limit
        admit = partial(self._limits.read, self._limits.caller(request))
        connection = Connection(connection_id, hub, outlet, place, admit, metrics, limit, rights_of(request))
        self._connections.enter(connection)
        return connection

    def _id_of_socket(self, request: web.Request) -> str:
        if "id" not in request.query:  # negotiate may be left out
            self._check_room()
            return secrets.token_urlsafe(16)
        token = self._token(request)
        self._check_new(token)
        return token.connection_id

    def _token(self, request: web.Request) -> Token:
        text = request.query.get("id", "")
        if not text:
            raise Refusal(grpc.StatusCode.INVALID_ARGUMENT, "The connection's id is missing.")
        token = self._tokens.read(text)
        if token is None:
            raise _no_connection()
        return token

    def _check_new(self, token: Token) -> None:
        if self._connections.find(token.connection_id):
            raise Refusal(grpc.StatusCode.ALREADY_EXISTS, "The connection is there already.")
        if not token.may_begin or self._connections.is_draining:
            raise _no_connection()
        self._check_room()

    def _check_room(self) -> None:
        if self._connections.are_full:
            raise Refusal(grpc.StatusCode.UNAVAILABLE, "This gateway has as many connections as it may have.")

    def _find(self, request: web.Request, token: Token) -> Connection | None:
        """Return the connection of a token, if it is here. Raises Refusal for a request that may see less than it."""
        connection = self._connections.find(token.connection_id)
        if connection and not rights_of(request).include(connection.rights):
            raise _no_connection()
        return connection

    async def _ask_elsewhere(self, request: web.Request, token: Token) -> web.StreamResponse:
        """Return the answer of the gateway that the token names. Raises Refusal if it is this one."""
        if away := self._elsewhere(request, token):
            return await self._forwarder.forward(request, away, [(_FORWARDED, "1")])
        raise _no_connection()

    def _elsewhere(self, request: web.Request, token: Token) -> URL | None:
        """Return the gateway that the token names, unless it is this one, or passed the request on itself."""
        if token.home == self.home or not token.home or _FORWARDED in request.headers:
            return None
        return URL(token.home if "://" in token.home else f"http://{token.home}")


def _no_connection() -> Refusal:
    return Refusal(grpc.StatusCode.NOT_FOUND, "There is no connection of this id.")


def _json(value: object) -> web.Response:
    return web.Response(body=json_bytes(value), content_type="application/json")
