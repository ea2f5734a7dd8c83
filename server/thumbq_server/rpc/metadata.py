"""What callers say beside their message."""

from collections.abc import Iterable
from typing import Any

from thumbq.v1 import queue_pb2
from thumbq_server.domain.traces import read_traceparent


def take_traceparent(jobs: Iterable[queue_pb2.EnqueueJobRequest | queue_pb2.NewJob], context: Any) -> None:
    """Write the span of the call, which OpenTelemetry's clients put into its metadata, into jobs that name none."""
    said = next((value for key, value in context.invocation_metadata() or () if key == "traceparent"), "")
    # It is copied for each job: what is no span, or not sampled, is dropped here and not by each of them.
    traceparent = read_traceparent(said)
    if traceparent:
        for job in jobs:
            job.traceparent = job.traceparent or traceparent
