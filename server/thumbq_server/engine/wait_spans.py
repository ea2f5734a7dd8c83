"""The spans of jobs that waited."""

from datetime import datetime
from typing import TYPE_CHECKING

from thumbq import spans
from thumbq_server.domain.job import ClaimedJob
from thumbq_server.domain.traces import Trace

if TYPE_CHECKING:
    from opentelemetry.trace import Tracer


def tracer() -> "Tracer | None":
    """Return what makes spans, None where the server does not trace."""
    return spans.tracer("thumbq-server")


def after_wait(maker: "Tracer", job: ClaimedJob) -> ClaimedJob:
    """Return a job whose attempt continues the span of its wait."""
    # When a later attempt became due is not known here: it continues the enqueue, and links to the attempt before it.
    trace = job.trace
    if trace is None or trace.waits_since is None:
        return job
    since = _nanoseconds(trace.waits_since)
    wait = spans.begin(maker, "wait", trace.traceparent, since=since, job_id=job.job_id)
    wait.end(at=_nanoseconds(job.claimed_at))
    return job._replace(trace=Trace(wait.traceparent, trace.earlier_attempt))


def _nanoseconds(moment: datetime) -> int:
    return round(moment.timestamp() * 1_000_000) * 1_000
