"""Streams that their clients have named, so that they get other models without a new connection."""

import grpc
from aiohttp import web

from thumbq_gateway.http.bodies.body import MEBIBYTE, Bodies
from thumbq_gateway.http.errors import Refusal
from thumbq_gateway.http.requests.tickets import check_models
from thumbq_gateway.notifications.audiences.connection import Connection
from thumbq_gateway.notifications.fanout import Fanout
from thumbq_gateway.notifications.request import read_change
from thumbq_gateway.protojson.values import InvalidValue

# Whatever the ticket of the change allows: it may end before the one of the stream.
_OTHER_MODELS = "The ticket of this stream is for other models. Open a new one."
_MOST_MODELS = 1_000_000  # named by all subscriptions together; each takes half a kilobyte


class NamedStreams:
    """The named streams of this gateway, and how many models all of its streams name."""

    def __init__(self, fanout: Fanout, bodies: Bodies) -> None:
        self._fanout = fanout
        self._bodies = bodies
        self._by_name: dict[str, Connection] = {}
        # Models named by all open streams. `_grown` has the part that change() added, by stream.
        self.models = 0
        self._grown: dict[Connection, int] = {}

    def has_room(self, models: int) -> bool:
        """Return whether streams may name this many models more."""
        return self.models + models <= _MOST_MODELS

    def enter(self, connection: Connection) -> None:
        """Let the client of a new stream change its models, if it has named it."""
        if name := connection.request.stream:
            self._by_name[name] = connection

    def leave(self, connection: Connection) -> None:
        """Forget a stream that has ended."""
        self.models -= self._grown.pop(connection, 0)
        name = connection.request.stream
        if self._by_name.get(name) is connection:
            del self._by_name[name]

    async def change(self, request: web.Request) -> web.Response:
        """Answer `POST /api/notifications/models`: the stream has these models from now on.

        404: the stream is at another gateway, or has ended. Its client opens a new one.
        """
        try:
            name, model_ids = await self._bodies.decoded(request, MEBIBYTE, read_change)
        except InvalidValue as invalid:
            raise Refusal(grpc.StatusCode.INVALID_ARGUMENT, str(invalid)) from None
        check_models(request, model_ids)
        connection = self._by_name.get(name)
        if connection is None:
            raise Refusal(grpc.StatusCode.NOT_FOUND, "This gateway has no stream of that name.")
        if connection.allowed is not None and not connection.allowed >= model_ids:
            raise Refusal(grpc.StatusCode.PERMISSION_DENIED, _OTHER_MODELS)
        before = connection.request.counted_models
        if not self.has_room(len(model_ids) - before):
            raise Refusal(grpc.StatusCode.UNAVAILABLE, "The streams of this gateway name as many models as they may.")
        self._fanout.change_models(connection, model_ids)
        grown = connection.request.counted_models - before
        self.models += grown
        self._grown[connection] = self._grown.get(connection, 0) + grown
        return web.Response(status=204)
