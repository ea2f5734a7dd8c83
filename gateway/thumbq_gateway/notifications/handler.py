"""GET /api/notifications: a stream of notifications to any number of clients."""

import asyncio
import contextlib
import random
from functools import partial

import grpc
from aiohttp import HttpVersion11, web

from thumbq_gateway.http.bodies.body import Bodies
from thumbq_gateway.http.errors import Refusal, status_response
from thumbq_gateway.http.lasting import LastingResponse
from thumbq_gateway.http.requests.tickets import models_of
from thumbq_gateway.limits.calls import Calls
from thumbq_gateway.metrics import NotificationMetrics
from thumbq_gateway.notifications.audiences import crowd
from thumbq_gateway.notifications.audiences.connection import Connection
from thumbq_gateway.notifications.catch_up import CatchUp
from thumbq_gateway.notifications.cursor import Cursor, StartFrom
from thumbq_gateway.notifications.fanout import Fanout
from thumbq_gateway.notifications.named_streams import NamedStreams
from thumbq_gateway.notifications.relays.progress_relay import ProgressRelay
from thumbq_gateway.notifications.relays.queue_relay import QueueRelay
from thumbq_gateway.notifications.request import SubscriptionRequest, read_request, within_ticket
from thumbq_gateway.notifications.upstream import PATIENCE, Upstream
from thumbq_runtime.limits.bounds import Place

_HEADERS = {
    "Cache-Control": "no-store, no-transform",
    "X-Accel-Buffering": "no",
}
_RETRY = 1_000, 5_000  # milliseconds; a range, so that clients do not all reconnect at once after a restart
_RETRY_TURNED_AWAY = 5, 15  # seconds


class _Stay:
    """What one client has taken, and gives back when its stream is over."""

    __slots__ = ("connection", "models", "place", "request")

    def __init__(self, request: SubscriptionRequest, place: Place) -> None:
        self.request = request
        # Of the request itself: its client may name others later.
        self.models = request.counted_models
        self.place = place
        self.connection: Connection | None = None


class Notifications:
    """The handler. Each connection costs one task of aiohttp's, which sleeps once the client has caught up."""

    def __init__(
        self,
        upstream: Upstream,
        fanout: Fanout,
        queue_relay: QueueRelay,
        progress_relay: ProgressRelay,
        metrics: NotificationMetrics,
        *,
        bodies: Bodies,
        limits: Calls,
        limit: int,
    ) -> None:
        """Serve at most `limit` clients."""
        self._upstream = upstream
        self._fanout = fanout
        self._queue_relay = queue_relay
        self._progress_relay = progress_relay
        self._metrics = metrics
        self._limits = limits
        self._limit = limit
        self._bodies = bodies
        self._clients = 0
        self._named_streams = NamedStreams(fanout, bodies)

    def routes(self) -> list[web.RouteDef]:
        """Return the routes of the stream."""
        path = "/api/notifications"
        return [
            web.get(path, self.handle, allow_head=False),
            web.post(path, self.handle),
            web.post(f"{path}/models", self._named_streams.change),
        ]

    async def handle(self, http_request: web.Request) -> web.StreamResponse:
        """Serve one client. The response lasts until it disconnects, is cut off, or the gateway stops."""
        request = within_ticket(http_request, await read_request(http_request, self._bodies))
        if self._clients >= self._limit or not self._named_streams.has_room(request.counted_models):
            return self._turn_away()
        stay = self._arrive(request, self._limits.subscribe(http_request))
        response = LastingResponse(headers={"Content-Type": request.framing.content_type, **_HEADERS})
        response.at_end(partial(self._depart, stay))
        try:
            await self._begin(http_request, response, stay)
        except BaseException:
            response.leave()
            raise
        return response

    def _arrive(self, request: SubscriptionRequest, place: Place) -> _Stay:
        stay = _Stay(request, place)
        self._clients += 1
        self._named_streams.models += stay.models
        if request.wants_thumbnails:
            self._upstream.demand.enter()
        return stay

    def _depart(self, stay: _Stay) -> None:
        # The places come first: what raises below must not keep one.
        self._clients -= 1
        self._named_streams.models -= stay.models
        stay.place.give_up()
        if stay.request.wants_thumbnails:
            self._upstream.demand.leave()
        if stay.connection:
            self._leave(stay.connection)

    def _turn_away(self) -> web.Response:
        self._metrics.turned_away.inc()
        message = "This gateway has as many listeners as it may have. Try again later, or another one."
        response = status_response(Refusal(grpc.StatusCode.UNAVAILABLE, message))
        response.headers["Retry-After"] = str(random.randint(*_RETRY_TURNED_AWAY))
        return response

    async def _begin(self, http_request: web.Request, response: LastingResponse, stay: _Stay) -> None:
        """Send the start of the stream and what the client has missed. The fanout writes what comes later."""
        request = stay.request
        start = await self._start(request)
        with contextlib.suppress(ConnectionError):
            await response.prepare(http_request)
            await response.write(request.framing.opening(random.randint(*_RETRY)))
            response.headers.clear()  # they are sent: a sleeping client keeps a kilobyte less
            if http_request.transport is None:
                return
            stay.connection = connection = Connection(
                http_request.transport,
                request,
                chunked=http_request.version >= HttpVersion11,
                crowded=stay.place.nth > crowd.FEW,
                allowed=models_of(http_request),
            )
            self._enter(connection)
            await self._catch_up(response, connection, start)
            response.last_until(connection.ended)

    async def _start(self, request: SubscriptionRequest) -> Cursor | StartFrom:
        """Return where the client starts.

        "latest" becomes a cursor before the response starts: a client that sees itself connected misses no event from
        then on. While no server can be reached, nobody knows where the log ends: the client learns of that by a reset.
        """
        if request.start is StartFrom.LATEST and request.wants_thumbnails:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(PATIENCE):
                    return (await asyncio.shield(self._upstream.caught_up)).head
            if self._upstream.head() is None:
                return StartFrom.UNKNOWN
        return request.start

    async def _catch_up(self, response: web.StreamResponse, connection: Connection, start: Cursor | StartFrom) -> None:
        """Send what the client has missed. Nothing of it is kept afterwards: ten thousand clients sleep then."""
        request = connection.request
        if request.wants_thumbnails:
            await CatchUp(self._upstream, self._fanout, self._metrics, response, connection).send(
                start, send_cursor=request.start is StartFrom.LATEST
            )
        if request.wants_progress:
            self._progress_relay.send_latest(connection)

    def _enter(self, connection: Connection) -> None:
        self._fanout.enter(connection)
        self._named_streams.enter(connection)
        if connection.request.wants_progress:
            self._progress_relay.enter()
        if connection.request.watches_queue:
            self._queue_relay.enter()
            if snapshot := self._queue_relay.latest:
                self._fanout.send_queue(connection, snapshot)

    def _leave(self, connection: Connection) -> None:
        self._fanout.leave(connection)
        self._named_streams.leave(connection)
        if connection.request.wants_progress:
            self._progress_relay.leave()
        if connection.request.watches_queue:
            self._queue_relay.leave()
