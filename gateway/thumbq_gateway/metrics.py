"""The gateway's counters for Prometheus."""

import math
import platform
from enum import StrEnum
from functools import partial
from importlib.metadata import version
from pathlib import Path

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from thumbq_runtime.files.folders import free_bytes
from thumbq_runtime.files.threads import FileThreads, Stalled
from thumbq_runtime.limits.rates import Kind

_DISK_TIMEOUT = 2.0  # seconds


class CutOff(StrEnum):
    """Why a client was cut off."""

    UNREAD = "unread"
    STALLED = "stalled"
    SILENT = "silent"


class RequestMetrics:
    """Counters of the JSON routes."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.total = Counter(
            "thumbq_gateway_requests",
            "JSON requests that reached their route, by RPC and HTTP status; 499: the client hung up. Not those without"
            " a valid key, or that come too often (thumbq_gateway_refused_total).",
            ["rpc", "status"],
            registry=registry,
        )
        self.seconds = Histogram(
            "thumbq_gateway_request_seconds",
            "Time from the first byte of a JSON request to its answer, long polls included.",
            ["rpc"],
            buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5, 30),
            registry=registry,
        )
        self.together = Histogram(
            "thumbq_gateway_calls_together",
            "Calls in a message to the server, by kind. Calls that come together leave together.",
            ["kind"],
            buckets=(1, 2, 5, 10, 20, 50, 100, 200, 500),
            registry=registry,
        )
        self.refused = Counter(
            "thumbq_gateway_refused",
            "Calls that were refused because they came too often or were too many, by what they counted as.",
            ["kind"],
            registry=registry,
        )
        for kind in Kind:
            self.refused.labels(kind)
        self.long_polls = Gauge(
            "thumbq_gateway_long_polls", "Calls that wait for a job, or for the end of one.", registry=registry
        )

    def count_refusal(self, kind: Kind) -> None:
        """Count a call that came too often."""
        self.refused.labels(kind).inc()


class NotificationMetrics:
    """Counters of the notification stream."""

    def __init__(self, registry: CollectorRegistry) -> None:
        def counter(name: str, description: str, labels: tuple[str, ...] = ()) -> Counter:
            return Counter(f"thumbq_gateway_{name}", description, labels, registry=registry)

        def gauge(name: str, description: str) -> Gauge:
            return Gauge(f"thumbq_gateway_{name}", description, registry=registry)

        self.subscribers = gauge("subscribers", "Clients on the notification stream.")
        self.delivered = counter("delivered", "Notifications sent to clients, each counted once per client.")
        self.cut_off = counter(
            "cut_off",
            "Clients cut off: they read too slowly, live (unread) or catching up (stalled), or a hub's fell silent.",
            ("reason",),
        )
        for reason in CutOff:
            self.cut_off.labels(reason)
        self.turned_away = counter("turned_away", "Clients turned away because the gateway has its maximum of clients.")
        self.resets = counter("resets", "Resets sent to clients whose cursor the log does not reach.")
        self.log_pages = counter(
            "log_pages",
            "Pages read from the server's log for clients whose cursor is older than the gateway's memory.",
        )
        self.upstream_connected = gauge(
            "upstream_connected", "1 while the gateway has its server, whether or not it has clients that listen."
        )


class HubMetrics:
    """Counters of the SignalR hubs."""

    def __init__(self, registry: CollectorRegistry, cut_off: Counter) -> None:
        """`cut_off` is counted with that of the notification stream."""
        self.cut_off = cut_off
        self.connections = Gauge(
            "thumbq_gateway_hub_connections", "Clients connected to a hub.", ["hub"], registry=registry
        )
        self.calls = Counter(
            "thumbq_gateway_hub_calls", "Methods called by clients of a hub.", ["hub"], registry=registry
        )
        self.events = Counter(
            "thumbq_gateway_hub_events",
            "Events sent to clients of a hub, each counted once per client.",
            ["target"],
            registry=registry,
        )


class ProcessMetrics:
    """How the gateway itself is."""

    def __init__(self, registry: CollectorRegistry, thumbnail_root: Path | None) -> None:
        self.loop_lag = Histogram(
            "thumbq_gateway_event_loop_lag_seconds",
            "How late the event loop is.",
            buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5, 30),
            registry=registry,
        )
        self._thumbnail_root = thumbnail_root
        self._threads = FileThreads(timeout=_DISK_TIMEOUT)
        self._free = Gauge(
            "thumbq_gateway_disk_free_bytes",
            "Free bytes of the disk with the thumbnails; NaN when it is away or does not answer, missing without one.",
            registry=registry if thumbnail_root else None,
        )
        build = Gauge(
            "thumbq_gateway_build_info", "1, with the version as labels.", ["version", "python"], registry=registry
        )
        build.labels(version("thumbq"), platform.python_version()).set(1)

    async def look_at_disk(self) -> None:
        """Look how many bytes are free. The disk may be a network share that stalls."""
        if self._thumbnail_root is None:
            return
        try:
            free = await self._threads.run("disk", partial(free_bytes, self._thumbnail_root))
        except Stalled:
            free = math.nan
        self._free.set(free)


class Metrics:
    """All counters of one gateway, in their own registry."""

    def __init__(self, thumbnail_root: Path | None = None) -> None:
        self.registry = CollectorRegistry()
        self.process = ProcessMetrics(self.registry, thumbnail_root)
        self.requests = RequestMetrics(self.registry)
        self.notifications = NotificationMetrics(self.registry)
        self.hubs = HubMetrics(self.registry, self.notifications.cut_off)
