"""Sends spans to a collector by OTLP, beside everything else. This module needs the extra `otel`."""

from __future__ import annotations

import atexit
import logging
import threading
from collections.abc import Sequence

from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

from thumbq.log_events import event

_logger = logging.getLogger("thumbq")
# Seconds that the end of a program waits for its last spans to be sent.
_LAST_SECONDS = 2.0


class OnceLogged(SpanExporter):
    """Passes spans on; that the collector is away is logged once, and once that it is back."""

    def __init__(self, exporter: SpanExporter) -> None:
        self._exporter = exporter
        self._is_away = False

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Send a batch. What a collector does not take is lost."""
        outcome = self._exporter.export(spans)
        is_away = outcome is not SpanExportResult.SUCCESS
        if is_away and not self._is_away:
            _logger.warning(
                "The collector of traces takes nothing; spans are lost until it does", extra=event("traces.lost")
            )
        elif self._is_away and not is_away:
            _logger.warning("The collector of traces takes spans again", extra=event("traces.sent_again"))
        self._is_away = is_away
        return outcome

    def shutdown(self) -> None:
        """Close the connection."""
        self._exporter.shutdown()


def tracer_provider(service: str) -> TracerProvider:
    """Return a provider with the sampler, the resource and the collector that the variables of OpenTelemetry name."""
    # It logs each attempt to send, and each queue that is full.
    logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)
    resource = Resource.create()
    if str(resource.attributes[SERVICE_NAME]).startswith("unknown_service"):
        resource = resource.merge(Resource({SERVICE_NAME: service}))
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(OnceLogged(OTLPSpanExporter())))
    atexit.register(_send_the_last, provider)
    return provider


def _send_the_last(provider: TracerProvider) -> None:
    # A collector that is away would hold up the end of the program.
    sending = threading.Thread(target=provider.force_flush, daemon=True)
    sending.start()
    sending.join(_LAST_SECONDS)
