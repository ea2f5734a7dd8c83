"""What callers say beside their message."""

from collections.abc import Iterable
from typing import Any

from thumbq.v1 import queue_pb2


def take_traceparent(jobs: Iterable[queue_pb2.EnqueueJobRequest | queue_pb2.NewJob], context: Any) -> None:
    """Write the span of the call, which OpenTelemetry's clients put into its metadata, into jobs that name none."""
    traceparent = next((value for key, value in context.invocation_metadata() or () if key == "traceparent"), "")
    if traceparent:
        for job in jobs:
            job.traceparent = job.traceparent or traceparent
