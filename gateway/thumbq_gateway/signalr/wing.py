"""The hubs of a gateway, put together."""

from collections.abc import Coroutine, Sequence
from typing import NoReturn

import grpc
from aiohttp import web

from thumbq.v1.notification_pb2 import Notification
from thumbq_gateway.access.door import Otherwise, RouteKey
from thumbq_gateway.http.bodies.body import Bodies
from thumbq_gateway.http.forwarding import Forwarder
from thumbq_gateway.limits.calls import Calls
from thumbq_gateway.metrics import HubMetrics
from thumbq_gateway.notifications.relays.queue_relay import QueueRelay
from thumbq_gateway.notifications.upstream import Upstream
from thumbq_gateway.signalr.connections import Connections
from thumbq_gateway.signalr.endpoint import Endpoint
from thumbq_gateway.signalr.hubs.hub import Hub
from thumbq_gateway.signalr.hubs.nudges import Nudges
from thumbq_gateway.signalr.hubs.page_hub import PageHub
from thumbq_gateway.signalr.hubs.presence import Presence
from thumbq_gateway.signalr.hubs.worker_hub import PATHS, WorkerHub, Workers
from thumbq_gateway.signalr.tokens import Tokens

# Seconds between two reports of the workers that are connected. The shortest lease of a worker lasts 60.
PRESENCE_INTERVAL = 20.0

# A client of SignalR pings every 15 seconds, and gives up after 30 without a word, whatever the gateway's heartbeat is.
LONGEST_INTERVAL, SHORTEST_PATIENCE = 15.0, 30.0


class SignalR:
    """The wing: its routes, its duties, and its end."""

    def __init__(
        self,
        channel: grpc.aio.Channel,
        upstream: Upstream,
        queue_relay: QueueRelay,
        metrics: HubMetrics,
        forwarder: Forwarder,
        limits: Calls,
        bodies: Bodies,
        *,
        secret: bytes,
        heartbeat: float,
        limit: int,
        buffer_limit: int,
        origins: frozenset[str],
    ) -> None:
        """The secret signs connection tokens: gateways that share it take each other's. `heartbeat` in seconds."""
        workers = Workers()
        self._pages = PageHub(channel, metrics, upstream.until_present)
        self._nudges = Nudges(channel, workers, queue_relay, metrics)
        self._presence = Presence(channel, workers, PRESENCE_INTERVAL)
        self._connections = Connections(
            metrics,
            upstream.demand,
            interval=min(heartbeat, LONGEST_INTERVAL),
            patience=max(SHORTEST_PATIENCE, 2 * heartbeat),
            limit=limit,
        )
        hubs: list[Hub] = [self._pages, *[WorkerHub(path, workers) for path in PATHS]]
        self._endpoints = [
            Endpoint(
                hub,
                self._connections,
                Tokens(secret, hub.path),
                metrics,
                forwarder,
                limits,
                bodies,
                buffer_limit=buffer_limit,
                origins=origins,
            )
            for hub in hubs
        ]
        queue_relay.listeners.append(self._nudges.hear_snapshot)

    def routes(self) -> list[web.RouteDef]:
        """Return the routes of the hubs."""
        return [route for endpoint in self._endpoints for route in endpoint.routes()]

    def negotiated(self) -> dict[RouteKey, Otherwise]:
        """Return the routes on which a connection's token stands for the key with which it was negotiated."""
        return {
            (method, endpoint.path): endpoint.key_of
            for endpoint in self._endpoints
            for method in ("GET", "POST", "DELETE")
        }

    def duties(self) -> list[Coroutine[None, None, NoReturn]]:
        """Return the tasks that run as long as the gateway does."""
        return [self._connections.beat(), self._nudges.run(), self._presence.run()]

    def live_at(self, home: str) -> None:
        """Set the address at which other gateways reach this one."""
        for endpoint in self._endpoints:
            endpoint.home = home

    async def hear(self, notifications: Sequence[Notification]) -> None:
        """Take news from the log."""
        await self._pages.hear(notifications)
        self._nudges.hear(notifications)

    def log_has_hole(self) -> None:
        """Take note of a hole in the log."""
        self._pages.log_has_hole()

    def drain(self) -> None:
        """End all connections; their clients come back, here or to another gateway."""
        self._connections.drain()
