"""Spans of OpenTelemetry, where a program has its extra and a collector. Otherwise nothing is imported or done.

A job carries the W3C traceparent of the span that asked for it. Everything that follows joins that trace.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any

from thumbq.log_events import event

if TYPE_CHECKING:
    from opentelemetry.trace import Span, Tracer

_logger = logging.getLogger("thumbq")
_ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
_SDK = "opentelemetry.sdk.trace"


def may_be_wanted() -> bool:
    """Return at once whether a look for a tracer is worth while."""
    return _SDK in sys.modules or _names_collector()


@cache
def _names_collector() -> bool:
    return any(map(os.environ.get, _ENDPOINTS))


def tracer(service: str) -> Tracer | None:
    """Return what makes spans, None where they are not wanted.

    That is the program's own OpenTelemetry, if it has set it up, or else one for the collector that the environment
    names; there `service` is the name of the program, unless OTEL_SERVICE_NAME has another.
    """
    if own := _tracer_of_program():
        return own
    return _tracer_of_environment(service) if _names_collector() else None


def _tracer_of_program() -> Tracer | None:
    if _SDK not in sys.modules:
        return None
    from opentelemetry import trace
    from opentelemetry.sdk.trace import TracerProvider

    provider = trace.get_tracer_provider()
    return provider.get_tracer("thumbq") if isinstance(provider, TracerProvider) else None


@cache
def _tracer_of_environment(service: str) -> Tracer | None:
    if os.environ.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return None
    try:
        from thumbq.span_export import tracer_provider
    except ModuleNotFoundError:
        # A program may have a part of it: the SDK, with another exporter.
        _logger.warning(
            "A collector of traces is named, but the extra is missing: pip install 'thumbq[otel]'",
            extra=event("traces.extra_missing"),
        )
        return None
    return tracer_provider(service).get_tracer("thumbq")


class Recorded:
    """A span under way. It ends once; what is told later is lost."""

    __slots__ = ("span",)

    def __init__(self, span: Span) -> None:
        self.span = span

    @property
    def traceparent(self) -> str:
        """The span as W3C Trace Context names it to others."""
        context = self.span.get_span_context()
        return f"00-{context.trace_id:032x}-{context.span_id:016x}-{int(context.trace_flags):02x}"

    @property
    def is_sampled(self) -> bool:
        """Whether it goes to the collector; if not, others need not know of it."""
        return self.span.get_span_context().trace_flags.sampled

    def end(self, problem: str = "", at: int | None = None) -> None:
        """End it, at a time in nanoseconds or now; with a problem it is one that failed."""
        if problem:
            from opentelemetry.trace import StatusCode

            self.span.set_status(StatusCode.ERROR, problem)
        self.span.end(at)


def begin(
    maker: Tracer,
    name: str,
    parent: str = "",
    *,
    kind: str = "INTERNAL",
    link: str = "",
    since: int | None = None,
    **attributes: str | int,
) -> Recorded:
    """Begin a span, now or at a time in nanoseconds. Without a parent it continues what its program does.

    `parent` and `link` are traceparents; malformed ones count as none. Attributes get the prefix `thumbq.`.
    """
    from opentelemetry.trace import Link, SpanKind

    linked = _context_of(link) if link else None
    span = maker.start_span(
        name,
        context=_within(parent) if parent else None,
        kind=SpanKind[kind],
        links=[Link(linked)] if linked is not None else None,
        attributes={f"thumbq.{attribute}": value for attribute, value in attributes.items()},
        start_time=since,
    )
    return Recorded(span)


@contextmanager
def current(recorded: Recorded) -> Iterator[None]:
    """Let what happens in the block belong to the span. It does not end with the block."""
    from opentelemetry.trace import use_span

    with use_span(recorded.span, end_on_exit=False, record_exception=False, set_status_on_exception=False):
        yield


def _within(traceparent: str) -> Any:
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    carrier: Mapping[str, str] = {"traceparent": traceparent}
    return TraceContextTextMapPropagator().extract(carrier)


def _context_of(traceparent: str) -> Any:
    from opentelemetry.trace import get_current_span

    context = get_current_span(_within(traceparent)).get_span_context()
    return context if context.is_valid else None
