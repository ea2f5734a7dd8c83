"""Whether the gateway lives, whether it can serve, and what it has counted."""

import grpc
from aiohttp import web
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from thumbq_gateway.http.errors import Refusal
from thumbq_gateway.metrics import Metrics

_DEADLINE = 2.0  # seconds


class Health:
    """The handlers."""

    def __init__(self, channel: grpc.aio.Channel, metrics: Metrics) -> None:
        self._check = channel.unary_unary(
            "/grpc.health.v1.Health/Check",
            request_serializer=HealthCheckRequest.SerializeToString,
            response_deserializer=HealthCheckResponse.FromString,
        )
        self._metrics = metrics

    def routes(self) -> list[web.RouteDef]:
        """Where they answer; /health is what older workers ask."""
        return [
            web.get("/healthz", self.alive),
            web.get("/health", self.alive),
            web.get("/readyz", self.ready),
            web.get("/metrics", self.metrics),
        ]

    async def alive(self, _request: web.Request) -> web.Response:
        """200 as long as the process answers."""
        return web.Response(text="Healthy")

    async def ready(self, _request: web.Request) -> web.Response:
        """200 when the server behind the gateway serves, 503 otherwise."""
        try:
            answer = await self._check(HealthCheckRequest(), timeout=_DEADLINE)
        except grpc.aio.AioRpcError:
            answer = HealthCheckResponse()
        if answer.status != HealthCheckResponse.SERVING:
            raise Refusal(grpc.StatusCode.UNAVAILABLE, "The queue's server is not serving.")
        return web.Response(text="Ready")

    async def metrics(self, _request: web.Request) -> web.Response:
        """All counters, for Prometheus."""
        return web.Response(body=generate_latest(self._metrics.registry), headers={"Content-Type": CONTENT_TYPE_LATEST})
