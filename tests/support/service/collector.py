"""A collector of traces that speaks OTLP over gRPC, and keeps what it is sent."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, NamedTuple

import grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc

from tests.processes import wait_until


class Seen(NamedTuple):
    """A span, with its ids in hexadecimal digits."""

    service: str
    name: str
    trace: str
    id: str
    parent: str
    links: list[str]
    failed: bool
    attributes: dict[str, Any]
    begun: int
    ended: int


class Collector(trace_service_pb2_grpc.TraceServiceServicer):
    """The receiving side of OTLP."""

    def __init__(self) -> None:
        self.spans: list[Seen] = []
        self.port = 0

    def Export(self, request: Any, context: Any) -> Any:  # noqa: N802 - the protocol's name
        for resource in request.resource_spans:
            service = _values(resource.resource.attributes)["service.name"]
            self.spans += [_seen(service, span) for scope in resource.scope_spans for span in scope.spans]
        return trace_service_pb2.ExportTraceServiceResponse()

    def variables(self) -> dict[str, str]:
        """What tells a program to send its spans here, at once."""
        return {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{self.port}", "OTEL_BSP_SCHEDULE_DELAY": "100"}

    def wait_for(self, trace: str, count: int) -> list[Seen]:
        """Return the spans of a trace in the order in which they began, as soon as there are `count`."""
        wait_until(lambda: len(self.of(trace)) >= count, f"{count} spans of trace {trace}")
        return self.of(trace)

    def named(self, name: str) -> list[Seen]:
        return sorted((span for span in self.spans if span.name == name), key=lambda span: span.begun)

    def of(self, trace: str) -> list[Seen]:
        return sorted((span for span in self.spans if span.trace == trace), key=lambda span: span.begun)


@contextmanager
def collecting(port: int = 0) -> Iterator[Collector]:
    collector = Collector()
    server = grpc.server(ThreadPoolExecutor(4))
    trace_service_pb2_grpc.add_TraceServiceServicer_to_server(collector, server)
    collector.port = server.add_insecure_port(f"127.0.0.1:{port}")
    server.start()
    try:
        yield collector
    finally:
        server.stop(0).wait()


def _values(attributes: Any) -> dict[str, Any]:
    return {each.key: getattr(each.value, each.value.WhichOneof("value")) for each in attributes}


def _seen(service: str, span: Any) -> Seen:
    return Seen(
        service,
        span.name,
        span.trace_id.hex(),
        span.span_id.hex(),
        span.parent_span_id.hex(),
        [link.span_id.hex() for link in span.links],
        span.status.code == span.status.STATUS_CODE_ERROR,
        _values(span.attributes),
        span.start_time_unix_nano,
        span.end_time_unix_nano,
    )
