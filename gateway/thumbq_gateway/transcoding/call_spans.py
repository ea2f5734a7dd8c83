"""The spans of JSON producers and workers: they name their own in the header traceparent."""

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from google.protobuf.message import Message

from thumbq import spans
from thumbq.v1.queue_pb2 import CompleteJobRequest, EnqueueJobRequest, EnqueueJobsRequest, FailJobRequest, NewJob

if TYPE_CHECKING:
    from opentelemetry.trace import Tracer

TRACED = (EnqueueJobRequest, EnqueueJobsRequest, CompleteJobRequest, FailJobRequest)
HEADER = "traceparent"
_TRACEPARENT = re.compile(r"00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")


class CallSpans:
    """Passes the caller's span on with the call, and makes one of the call where the gateway traces."""

    def __init__(self) -> None:
        self._tracer: Tracer | None = spans.tracer("thumbq-gateway")

    @contextmanager
    def around(self, request: Message, caller: str) -> Iterator[None]:
        """Trace one call of the four kinds. `caller` is the span that it belongs to; a malformed one counts as none."""
        # It goes into each job of a batch, and a header may have 8,000 characters, and bytes that no message takes.
        caller = caller if _TRACEPARENT.fullmatch(caller) else ""
        if isinstance(request, FailJobRequest) and caller and not request.traceparent:
            request.traceparent = caller
        jobs: Iterable[EnqueueJobRequest | NewJob] = ()
        if isinstance(request, EnqueueJobRequest):
            jobs = (request,)
        elif isinstance(request, EnqueueJobsRequest):
            jobs = request.jobs
        asks = isinstance(request, EnqueueJobRequest | EnqueueJobsRequest)
        span = None
        # A result of a worker that names no attempt belongs to no trace.
        if self._tracer and (asks or caller):
            name, kind = ("enqueue", "PRODUCER") if asks else ("result", "SERVER")
            span = spans.begin(self._tracer, name, caller, kind=kind)
        if carried := span.traceparent if span else caller:
            for job in jobs:
                job.traceparent = job.traceparent or carried
        problem = ""
        try:
            yield
        except BaseException as error:
            problem = str(error) or type(error).__name__
            raise
        finally:
            if span:
                span.end(problem)
