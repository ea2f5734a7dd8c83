"""The parts of a gateway, put together: the one place of the wiring."""

from dataclasses import dataclass

import grpc
from aiohttp import web

from thumbq.v1 import admin_pb2, notification_pb2, queue_pb2
from thumbq_gateway.access.callers import Callers
from thumbq_gateway.access.door import KEY
from thumbq_gateway.http.bodies.body import Bodies
from thumbq_gateway.http.files.store_watch import StoreWatch
from thumbq_gateway.http.forwarding import Forwarder
from thumbq_gateway.limits.calls import Calls
from thumbq_gateway.metrics import Metrics
from thumbq_gateway.notifications.fanout import Fanout
from thumbq_gateway.notifications.relays.progress_relay import ProgressRelay
from thumbq_gateway.notifications.relays.queue_relay import QueueRelay
from thumbq_gateway.notifications.upstream import Upstream
from thumbq_gateway.settings import Settings
from thumbq_gateway.signalr.wing import SignalR
from thumbq_gateway.transcoding.routes import Table, routes_of
from thumbq_gateway.transcoding.together import Together
from thumbq_gateway.transcoding.transcoder import Transcoder
from thumbq_runtime.limits.bounds import Bounds
from thumbq_runtime.limits.rates import Rates

_SERVICES = [
    service
    for module in (queue_pb2, notification_pb2, admin_pb2)
    for service in module.DESCRIPTOR.services_by_name.values()
]


@dataclass(frozen=True)
class Parts:
    """The parts of a gateway, before their routes are registered."""

    metrics: Metrics
    bodies: Bodies
    bounds: Bounds
    limits: Calls
    callers: Callers
    table: Table
    together: Together
    transcoder: Transcoder
    fanout: Fanout
    upstream: Upstream
    queue_relay: QueueRelay
    progress_relay: ProgressRelay
    forwarder: Forwarder
    hubs: SignalR
    store: StoreWatch

    async def aclose(self) -> None:
        """Close what was opened while the parts were made."""
        await self.forwarder.aclose()


def build(settings: Settings, channel: grpc.aio.Channel) -> Parts:
    """Make the parts of a gateway. The channel leads to its server."""
    metrics = Metrics(settings.thumbnail_root)
    rates = Rates(settings.rates(), metrics.requests.count_refusal)
    bounds = Bounds(settings.bounds(), rates.note)
    limits = Calls(rates, bounds, settings.trusted_proxies, _key_of)
    bodies = Bodies(limits.caller, timeout=settings.body_timeout)
    table = routes_of(_SERVICES)
    together = Together(channel, metrics.requests)
    fanout = Fanout(metrics.notifications, heartbeat=settings.heartbeat, buffer_limit=settings.subscriber_buffer)
    upstream = _upstream(settings, channel, fanout, metrics)
    queue_relay = QueueRelay(channel, fanout, upstream.note_server, linger=settings.queue_watch_linger)
    callers = Callers(
        channel, queue_relay.note_server, limits.refused_claims, always_needed=settings.needs_callers_to_prove()
    )
    progress_relay = ProgressRelay(channel, fanout, upstream.note_server, linger=settings.queue_watch_linger)
    forwarder = Forwarder(settings.tls().context() if settings.upstream_verify else False)
    hubs = SignalR(
        channel,
        upstream,
        queue_relay,
        metrics.hubs,
        forwarder,
        limits,
        bodies,
        secret=settings.key_of_hubs(),
        heartbeat=settings.heartbeat,
        limit=settings.subscriber_limit,
        buffer_limit=settings.subscriber_buffer,
        origins=settings.cors_origins,
    )
    upstream.listeners += [hubs, progress_relay]
    return Parts(
        metrics=metrics,
        bodies=bodies,
        bounds=bounds,
        limits=limits,
        callers=callers,
        table=table,
        together=together,
        transcoder=Transcoder(table, channel, together, bodies, limits, metrics.requests),
        fanout=fanout,
        upstream=upstream,
        queue_relay=queue_relay,
        progress_relay=progress_relay,
        forwarder=forwarder,
        hubs=hubs,
        store=StoreWatch(settings.objects()),
    )


def _upstream(settings: Settings, channel: grpc.aio.Channel, fanout: Fanout, metrics: Metrics) -> Upstream:
    return Upstream(
        channel,
        fanout,
        metrics.notifications,
        ring_capacity=settings.ring_notifications,
        ring_bytes=settings.ring_bytes,
        linger=settings.queue_watch_linger,
    )


def _key_of(request: web.Request) -> str:
    return key.prefix if (key := request.get(KEY)) else ""
