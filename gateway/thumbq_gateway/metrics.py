"""What the gateway counts, for Prometheus."""

from enum import StrEnum

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram


class CutOff(StrEnum):
    """Why a client was cut off."""

    UNREAD = "unread"
    STALLED = "stalled"
    SILENT = "silent"


class Metrics:
    """All counters of one gateway, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "thumbq_gateway_requests",
            "JSON requests that were passed on to the server or refused, by RPC and HTTP status.",
            ["rpc", "status"],
            registry=self.registry,
        )
        self.request_seconds = Histogram(
            "thumbq_gateway_request_seconds",
            "Time from the first byte of a JSON request to its answer, long polls included.",
            ["rpc"],
            buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5, 30),
            registry=self.registry,
        )
        self.long_polls = Gauge(
            "thumbq_gateway_long_polls", "Callers who wait for a job, or for the end of one.", registry=self.registry
        )
        self.subscribers = Gauge(
            "thumbq_gateway_subscribers", "Clients on the notification stream.", registry=self.registry
        )
        self.delivered = Counter(
            "thumbq_gateway_delivered",
            "Notifications written to clients, each counted once per client.",
            registry=self.registry,
        )
        self.cut_off = Counter(
            "thumbq_gateway_cut_off",
            "Clients cut off: too much was unread, the past stalled on its way, or a hub's client fell silent.",
            ["reason"],
            registry=self.registry,
        )
        for reason in CutOff:
            self.cut_off.labels(reason)
        self.turned_away = Counter(
            "thumbq_gateway_turned_away",
            "Clients told to come back later because there are as many as the gateway may have.",
            registry=self.registry,
        )
        self.resets = Counter(
            "thumbq_gateway_resets",
            "Clients told that their cursor is no longer served.",
            registry=self.registry,
        )
        self.log_pages = Counter(
            "thumbq_gateway_log_pages",
            "Pages read from the server's log for clients whose cursor is older than what the gateway keeps.",
            registry=self.registry,
        )
        self.upstream_connected = Gauge(
            "thumbq_gateway_upstream_connected",
            "1 while the one stream of notifications from the server stands.",
            registry=self.registry,
        )
        self.hubs = HubMetrics(self.registry, self.cut_off)


class HubMetrics:
    """The counters of the SignalR hubs."""

    def __init__(self, registry: CollectorRegistry, cut_off: Counter) -> None:
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
