"""Why a job is where it is, in one sentence."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from google.protobuf.timestamp_pb2 import Timestamp

from thumbq.v1.admin_pb2 import WorkerInfo
from thumbq.v1.job_pb2 import Job, JobStatus


@dataclass(frozen=True)
class Surroundings:
    """What holds due jobs back. None where the server does not tell."""

    paused: bool | None = None
    workers: Sequence[WorkerInfo] | None = None


def explain(job: Job, now: datetime, surroundings: Surroundings) -> str:
    """Says what the job waits for, who works on it, or how it ended."""
    attempts = f"{job.attempt_count} of {job.max_attempts}"
    match job.status:
        case JobStatus.JOB_STATUS_PENDING:
            return _explain_pending(job, now, surroundings)
        case JobStatus.JOB_STATUS_PROCESSING:
            return (
                f"Worker {job.worker_id} is at work on it (attempt {attempts}); "
                f"its lease runs until {clock(job.lease_expires_at)}."
            )
        case JobStatus.JOB_STATUS_COMPLETED:
            return f"It was completed at {clock(job.finished_at)}."
        case JobStatus.JOB_STATUS_FAILED:
            return f"It failed for good at {clock(job.finished_at)}, after attempt {attempts}."
        case JobStatus.JOB_STATUS_CANCELLED:
            return f"It was cancelled at {clock(job.finished_at)}."
    return "The server did not say how it stands."


def _explain_pending(job: Job, now: datetime, surroundings: Surroundings) -> str:
    due = job.run_at.ToDatetime(UTC)
    if due > now:
        when = f"at {clock(job.run_at)}, in {span(due - now)}"
        if job.attempt_count:
            return f"Attempt {job.attempt_count} of {job.max_attempts} failed; the next is due {when}."
        return f"It was enqueued with a delay, and is due {when}."
    if surroundings.paused:
        return "It is due, but the queue is paused."
    if surroundings.workers is None:
        return "It is due, and waits for a worker with a free slot."
    if not surroundings.workers:
        return "It is due, but no worker is connected."
    return f"It is due, and waits until one of {len(surroundings.workers)} workers has a free slot."


def clock(moment: Timestamp) -> str:
    """The local time of day, with the date unless it is today's."""
    local = moment.ToDatetime(UTC).astimezone()
    today = datetime.now(UTC).astimezone().date()
    return f"{local:%H:%M:%S}" if local.date() == today else f"{local:%Y-%m-%d %H:%M:%S}"


def span(duration: timedelta) -> str:
    """A length of time in its one or two largest units: "8 s", "3 min 5 s", "2 h 10 min"."""
    seconds = max(round(duration.total_seconds()), 0)
    units = [
        ("d", seconds // 86_400),
        ("h", seconds // 3600 % 24),
        ("min", seconds // 60 % 60),
        ("s", seconds % 60),
    ]
    first = next((index for index, (_, count) in enumerate(units) if count), 3)
    parts = [f"{count} {unit}" for unit, count in units[first : first + 2] if count]
    return " ".join(parts) or "0 s"
