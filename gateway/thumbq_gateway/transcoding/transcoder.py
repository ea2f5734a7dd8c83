"""The route table as HTTP handlers over one channel."""

import grpc
from aiohttp import web

from thumbq_gateway.http.bodies.body import Bodies
from thumbq_gateway.http.turns import Turns
from thumbq_gateway.limits.calls import Calls
from thumbq_gateway.metrics import RequestMetrics
from thumbq_gateway.transcoding.call_spans import CallSpans
from thumbq_gateway.transcoding.contract import CLAUSES, GENERAL, other_paths
from thumbq_gateway.transcoding.endpoint import Endpoint
from thumbq_gateway.transcoding.routes import Route, Table
from thumbq_gateway.transcoding.together import Together
from thumbq_gateway.transcoding.unary_call import LongPolls, UnaryCall

_REST = 2.0  # two thirds of the time are left to others while one caller asks for one long list after the other


class Transcoder:
    """The HTTP handlers of a route table."""

    def __init__(
        self,
        table: Table,
        channel: grpc.aio.Channel,
        together: Together,
        bodies: Bodies,
        limits: Calls,
        metrics: RequestMetrics,
    ) -> None:
        """Raises LookupError when the contract names an RPC or a field to wait for that does not exist."""
        for name in CLAUSES.keys() - table.keys():
            raise LookupError(f"The contract names {name}, which has no route.")
        self._table = table
        self._channel = channel
        self._together = together
        self._bodies = bodies
        self._limits = limits
        self._metrics = metrics
        self._long_polls = LongPolls(metrics)
        self._long_lists = Turns(_REST)
        self._spans = CallSpans()

    def routes(self) -> list[web.RouteDef]:
        """Return the aiohttp routes of the table, and those that the contract adds."""
        return [
            web.route(route.http_method, pattern, endpoint.handle)
            for routes in self._table.values()
            for route in routes
            for endpoint in [self._endpoint(route)]
            for pattern in (route.pattern, *other_paths(route.pattern))
        ]

    def rpcs(self) -> dict[tuple[str, str], str]:
        """Return the name of the RPC behind each HTTP method and path."""
        return {
            (route.http_method, path): route.rpc.name
            for routes in self._table.values()
            for route in routes
            for path in (route.path, *other_paths(route.path))
        }

    def end_long_polls(self) -> None:
        """Answer every waiting caller with 503, so that it asks another gateway."""
        self._long_polls.end()

    def _endpoint(self, route: Route) -> Endpoint:
        batch = CLAUSES.get(route.name, GENERAL).batch
        batch_call = self._call(self._table[batch.rpc][0]) if batch else None
        return Endpoint(
            route, self._bodies, self._call(route), batch_call, self._limits, self._long_lists, self._metrics
        )

    def _call(self, route: Route) -> UnaryCall:
        wait_field = CLAUSES.get(route.name, GENERAL).wait_field
        return UnaryCall(route, self._channel, self._long_polls, self._together, wait_field, self._spans)
