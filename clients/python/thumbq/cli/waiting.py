"""Explains in one sentence why a job waits, or how it stands otherwise."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from thumbq.cli.formatting import format_duration, format_time
from thumbq.v1.admin_pb2 import WorkerInfo
from thumbq.v1.job_pb2 import Job, JobStatus


@dataclass(frozen=True)
class QueueState:
    """The reasons why due jobs may have to wait; None where the server does not report them."""

    paused: bool | None = None
    workers: Sequence[WorkerInfo] | None = None


def explain(job: Job, now: datetime, queue: QueueState) -> str:
    """Return what the job waits for, who works on it, or how it ended."""
    attempts = f"{job.attempt_count} of {job.max_attempts}"
    match job.status:
        case JobStatus.JOB_STATUS_PENDING:
            return _explain_pending(job, now, queue)
        case JobStatus.JOB_STATUS_PROCESSING:
            return (
                f"Worker {job.worker_id} is at work on it (attempt {attempts}); "
                f"its lease runs until {format_time(job.lease_expires_at)}."
            )
        case JobStatus.JOB_STATUS_COMPLETED:
            return f"It was completed at {format_time(job.finished_at)}."
        case JobStatus.JOB_STATUS_FAILED:
            return f"It failed for good at {format_time(job.finished_at)}, after attempt {attempts}."
        case JobStatus.JOB_STATUS_CANCELLED:
            return f"It was cancelled at {format_time(job.finished_at)}."
    return "The server did not say how it stands."


def _explain_pending(job: Job, now: datetime, queue: QueueState) -> str:
    due = job.run_at.ToDatetime(UTC)
    if due > now:
        when = f"at {format_time(job.run_at)}, in {format_duration(due - now)}"
        if job.attempt_count:
            return f"Attempt {job.attempt_count} of {job.max_attempts} failed; the next is due {when}."
        return f"It was enqueued with a delay, and is due {when}."
    if queue.paused:
        return "It is due, but the queue is paused."
    if queue.workers is None:
        return "It is due, and waits for a worker with a free slot."
    if not queue.workers:
        return "It is due, but no worker is connected."
    one = "the worker" if len(queue.workers) == 1 else f"one of {len(queue.workers)} workers"
    return f"It is due, and waits until {one} has a free slot."
