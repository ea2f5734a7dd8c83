"""Liveness, readiness and metrics."""

import grpc
from aiohttp import web
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

from thumbq_gateway.http.errors import Refusal

_TIMEOUT = 2.0  # seconds


class Health:
    """The handlers of the probes and of /metrics."""

    def __init__(self, channel: grpc.aio.Channel, registry: CollectorRegistry) -> None:
        self._check = channel.unary_unary(
            "/grpc.health.v1.Health/Check",
            request_serializer=HealthCheckRequest.SerializeToString,
            response_deserializer=HealthCheckResponse.FromString,
        )
        self._registry = registry

    def routes(self) -> list[web.RouteDef]:
        """Return the routes. Older workers ask /health."""
        return [
            web.get("/healthz", self.alive),
            web.get("/health", self.alive),
            web.get("/readyz", self.ready),
            web.get("/metrics", self.metrics),
        ]

    async def alive(self, _request: web.Request) -> web.Response:
        """Answer 200 as long as the process runs."""
        return web.Response(text="Healthy")

    async def ready(self, _request: web.Request) -> web.Response:
        """Answer 200 if the server behind the gateway serves, 503 otherwise."""
        try:
            answer = await self._check(HealthCheckRequest(), timeout=_TIMEOUT)
        except grpc.aio.AioRpcError:
            answer = HealthCheckResponse()
        if answer.status != HealthCheckResponse.SERVING:
            raise Refusal(grpc.StatusCode.UNAVAILABLE, "The queue's server is not serving.")
        return web.Response(text="Ready")

    async def metrics(self, _request: web.Request) -> web.Response:
        """Return all counters for Prometheus."""
        return web.Response(body=generate_latest(self._registry), headers={"Content-Type": CONTENT_TYPE_LATEST})
