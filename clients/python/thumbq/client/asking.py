"""The span of an enqueue, which its jobs carry to their workers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from thumbq import spans
from thumbq.v1.queue_pb2 import NewJob


@contextmanager
def asking(jobs: Sequence[NewJob]) -> Iterator[Sequence[NewJob]]:
    """Yield the jobs as they are sent: where a program traces, copies that carry the span of the block.

    One that the sampler passes over costs its jobs nothing.
    """
    tracer = spans.tracer("thumbq-producer")
    if tracer is None:
        yield jobs
        return
    span = spans.begin(tracer, "enqueue", kind="PRODUCER", jobs=len(jobs))
    problem = ""
    try:
        yield [_within(job, span.traceparent) for job in jobs] if span.is_sampled else jobs
    except BaseException as error:
        problem = str(error) or type(error).__name__
        raise
    finally:
        span.end(problem)


def _within(job: NewJob, traceparent: str) -> NewJob:
    if job.traceparent:
        return job
    copy = NewJob(traceparent=traceparent)
    copy.MergeFrom(job)
    return copy
