"""The metrics of a render worker: outcomes, and the time that the stages of a picture take."""

import platform
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version
from time import monotonic
from typing import get_args

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, start_http_server

from thumbq.render.child import Reason

_BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)


class RenderMetrics:
    """Counts pictures, failures by their reasons, and the seconds of every stage."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        self._stages = Histogram(
            "thumbq_render_stage_seconds",
            "Processor seconds of the stages of a model's pictures: load, frame, draw, encode.",
            ["stage"],
            registry=registry,
            buckets=_BUCKETS,
        )
        self._seconds = Histogram(
            "thumbq_render_model_seconds",
            "Time of a model in its slot: fetching and checking it, and its pictures.",
            registry=registry,
            buckets=_BUCKETS,
        )
        self._models = Counter(
            "thumbq_render_models", "Models that were rendered, by outcome.", ["outcome"], registry=registry
        )
        self._failures = Counter(
            "thumbq_render_failures",
            "Models without a picture, by reason: the file, its source, time, memory, a crash, storage.",
            ["reason"],
            registry=registry,
        )
        self._busy = Gauge("thumbq_render_busy", "Models that are rendered at this moment.", registry=registry)
        build = Gauge(
            "thumbq_render_build_info", "1, with the version as labels.", ["version", "python"], registry=registry
        )
        build.labels(version("thumbq"), platform.python_version()).set(1)
        # A rate needs the zero that its first event departs from.
        for outcome in ("completed", "failed"):
            self._models.labels(outcome)
        for reason in get_args(Reason):
            self._failures.labels(reason)

    @contextmanager
    def in_slot(self) -> Iterator[None]:
        """Take the time of the block for that of a model."""
        started = monotonic()
        try:
            with self._busy.track_inprogress():
                yield
        finally:
            # The longest are those that are broken off.
            self._seconds.observe(monotonic() - started)

    def rendered(self, seconds: Mapping[str, float]) -> None:
        """Count a model that was drawn."""
        self._models.labels("completed").inc()
        for stage, spent in seconds.items():
            self._stages.labels(stage).observe(spent)

    def failed(self, reason: Reason) -> None:
        """Count a model that could not be drawn."""
        self._models.labels("failed").inc()
        self._failures.labels(reason).inc()

    def serve(self, host: str, port: int) -> int:
        """Answer from a thread of its own until the process ends; returns the port."""
        server, _ = start_http_server(port, host, self.registry)
        return server.server_port
