"""The metrics of a render worker: outcomes, and the time that the stages of a picture take."""

from collections.abc import Mapping

from prometheus_client import CollectorRegistry, Counter, Histogram, start_http_server

_BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)


class RenderMetrics:
    """Counts pictures, failures, and the processor seconds of every stage."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._stages = Histogram(
            "thumbq_render_stage_seconds",
            "Processor seconds of the stages of a model's pictures: load, frame, draw, encode.",
            ["stage"],
            registry=self.registry,
            buckets=_BUCKETS,
        )
        self._models = Counter(
            "thumbq_render_models", "Models that were rendered, by outcome.", ["outcome"], registry=self.registry
        )

    def rendered(self, seconds: Mapping[str, float]) -> None:
        """Count a model that was drawn."""
        self._models.labels("completed").inc()
        for stage, spent in seconds.items():
            self._stages.labels(stage).observe(spent)

    def failed(self) -> None:
        """Count a model that could not be drawn."""
        self._models.labels("failed").inc()

    def serve(self, port: int) -> int:
        """Answer on loopback from a thread of its own until the process ends; returns the port."""
        server, _ = start_http_server(port, "127.0.0.1", self.registry)
        return server.server_port
