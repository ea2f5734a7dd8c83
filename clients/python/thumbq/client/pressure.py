"""Producers slow down while the queue fills up, so that its limit refuses them nothing."""

from __future__ import annotations

from thumbq.v1.queue_pb2 import EnqueueColumnsResponse, EnqueueJobsResponse, EnqueueStreamResponse

# From here on; a queue may well be half full.
_BEGINS = 0.8
_LONGEST = 1.0  # seconds


def pause_of(response: EnqueueJobsResponse | EnqueueColumnsResponse | EnqueueStreamResponse) -> float:
    """Return the seconds to wait before more jobs are sent: none, up to one when the queue is full."""
    return max(0.0, response.pressure - _BEGINS) / (1 - _BEGINS) * _LONGEST
