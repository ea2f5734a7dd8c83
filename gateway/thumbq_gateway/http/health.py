"""Liveness, readiness and metrics."""

import grpc
from aiohttp import web
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from thumbq_gateway.http.errors import Refusal
from thumbq_gateway.http.files.store_watch import StoreWatch
from thumbq_gateway.metrics import Metrics

_TIMEOUT = 2.0  # seconds
_READY = "thumbq.ready"  # the name in the server's health service that stands for all that a request needs
_REASON = "thumbq-reason"  # the trailing metadata that says why it is not serving
_NOT_THERE = "The queue's server cannot be reached."


class Health:
    """The handlers of the probes and of /metrics."""

    def __init__(self, channel: grpc.aio.Channel, metrics: Metrics, store: StoreWatch) -> None:
        self._check = channel.unary_unary(
            "/grpc.health.v1.Health/Check",
            request_serializer=HealthCheckRequest.SerializeToString,
            response_deserializer=HealthCheckResponse.FromString,
        )
        self._metrics = metrics
        self._store = store

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
        """Answer 200 if the server behind the gateway serves, 503 otherwise.

        All gateways share an object store, and events and jobs go on without it. So they stay ready, and name it.
        """
        try:
            is_ready, reason = await self._ask(_READY)
        except grpc.aio.AioRpcError as error:
            if error.code() is not grpc.StatusCode.NOT_FOUND:
                raise Refusal(grpc.StatusCode.UNAVAILABLE, _NOT_THERE) from None
            is_ready, reason = await self._ask("")  # an older server
        if not is_ready:
            raise Refusal(grpc.StatusCode.UNAVAILABLE, _sentence(reason))
        trouble = self._store.trouble
        return web.Response(text=f"Ready, but without the pictures. {trouble}" if trouble else "Ready")

    async def _ask(self, service: str) -> tuple[bool, str]:
        """Return whether the server is ready, and its reason if it is not. Raises AioRpcError."""
        call = self._check(HealthCheckRequest(service=service), timeout=_TIMEOUT)
        answer = await call
        told = dict(await call.trailing_metadata() or ())
        return answer.status == HealthCheckResponse.SERVING, str(told.get(_REASON, ""))

    async def metrics(self, _request: web.Request) -> web.Response:
        """Return all counters for Prometheus."""
        await self._metrics.process.look_at_disk()
        return web.Response(body=generate_latest(self._metrics.registry), headers={"Content-Type": CONTENT_TYPE_LATEST})


def _sentence(reason: str) -> str:
    return f"The queue's server is not ready: {reason.rstrip('.')}." if reason else "The queue's server is not serving."
