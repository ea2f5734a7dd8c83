"""Why a job waits, in a word for programs and a sentence for people."""

from collections.abc import Sequence
from datetime import datetime
from enum import Enum, auto
from typing import NamedTuple

from thumbq_runtime.limits.rates import Kind
from thumbq_server.domain.job import MODEL, JobStatus
from thumbq_server.domain.operations import MOST_AHEAD, Depth, Pause
from thumbq_server.domain.progress import ProgressRecord
from thumbq_server.domain.records import JobRecord


class WaitReason(Enum):
    """Why a job does not run."""

    NONE = auto()
    NOT_DUE = auto()
    PAUSED = auto()
    NO_WORKER = auto()
    WORKERS_FULL = auto()
    RATE_LIMITED = auto()


class RefusedClaim(NamedTuple):
    """A limit that refused a worker: the seconds since then, and those until that worker may ask again."""

    limit: Kind
    ago: float
    again_in: float


# What the limits on the way to a job say of those they refuse, and the setting of each.
_LIMITS = {
    Kind.WORKER_POLLS: ("one worker asks for jobs too often", "THUMBQ_RATE_OF_WORKER_POLLS"),
    Kind.POLLS: ("the workers of one key or address ask for jobs too often", "THUMBQ_RATE_OF_POLLS"),
    Kind.READS: ("one key or address opens streams, or reads, too often", "THUMBQ_RATE_OF_READS"),
    Kind.STREAMS: ("one key or address has all the streams that it may have", "THUMBQ_STREAMS_OF_ADDRESS"),
    Kind.WORK_STREAMS: (
        "one key or address has all the streams of workers that it may have",
        "THUMBQ_WORK_STREAMS_OF_ADDRESS",
    ),
    Kind.WAITING_CALLS: (
        "one key or address has all the waiting calls that it may have",
        "THUMBQ_WAITING_CALLS_OF_ADDRESS",
    ),
    Kind.JOBS_IN_FLIGHT: (
        "one key or address has all the jobs in flight that it may have",
        "THUMBQ_JOBS_IN_FLIGHT_OF_ADDRESS",
    ),
}
# Seconds after which a refusal says nothing about a queue to which no worker has come since.
_LATELY = 60.0


class Explanation(NamedTuple):
    """How a job stands, and the answer for people."""

    job: JobRecord
    reason: WaitReason
    sentence: str
    ahead: int
    workers: int
    pause: Pause | None
    progress: ProgressRecord | None = None


def explain(
    job: JobRecord, now: datetime, depth: Depth, ahead: int, refused: Sequence[RefusedClaim] = ()
) -> Explanation:
    """Return why a job waits, or how it stands otherwise. `refused`: workers that were, the latest first."""
    if job.run_at:
        reason, sentence = _explain_pending(job, job.run_at, now, depth, ahead, refused)
    else:
        reason, sentence = WaitReason.NONE, _stands(job)
    return Explanation(job, reason, sentence, ahead, depth.workers, depth.pause)


def _stands(job: JobRecord) -> str:
    attempts = f"attempt {job.attempt_count} of {job.max_attempts}"
    if job.status is JobStatus.PROCESSING:
        return (
            f"Worker {job.worker_id} is at work on it ({attempts}); its lease runs until {_at(job.lease_expires_at)}."
        )
    if job.status is JobStatus.FAILED:
        return f"It failed for good at {_at(job.finished_at)}, after {attempts}."
    return f"It was {job.status.lower()} at {_at(job.finished_at)}."


def _explain_pending(
    job: JobRecord, run_at: datetime, now: datetime, depth: Depth, ahead: int, refused: Sequence[RefusedClaim]
) -> tuple[WaitReason, str]:
    if run_at > now:
        when = f"at {_at(run_at)}, in {(run_at - now).total_seconds():.0f} s"
        if job.attempt_count:
            attempts = f"Attempt {job.attempt_count} of {job.max_attempts}"
            return WaitReason.NOT_DUE, f"{attempts} failed; the next is due {when}."
        return WaitReason.NOT_DUE, f"It was enqueued with a delay, and is due {when}."
    if depth.pause is not None:
        return WaitReason.PAUSED, f"It is due, but the queue is paused{_by(depth.pause)}."
    limit = _limit_in_the_way(refused, (now - run_at).total_seconds(), depth.workers)
    if limit:
        what, setting = _LIMITS[limit]
        return WaitReason.RATE_LIMITED, f"It is due, but a limit keeps workers away: {what} ({setting})."
    if not depth.workers:
        return WaitReason.NO_WORKER, "It is due, but no worker is connected."
    before = f"{_number(ahead)} jobs are ahead of it" if ahead != 1 else "1 job is ahead of it"
    # Which kinds a worker takes is known to its own server alone.
    kind = "Models" if job.kind == MODEL else job.kind
    return WaitReason.WORKERS_FULL, f"It is due, and waits for a free slot of a worker that takes {kind}; {before}."


def _limit_in_the_way(refused: Sequence[RefusedClaim], due_for: float, workers: int) -> Kind | None:
    """Return the limit that has refused a worker since the job is due.

    Where others are connected, they may all be busy. Then only those count that may not ask again yet.
    """
    for limit, ago, again_in in refused:
        if limit in _LIMITS and ago <= due_for and (again_in > 0 if workers else ago <= _LATELY):
            return limit
    return None


def _by(pause: Pause) -> str:
    who = f" by {pause.paused_by}" if pause.paused_by else ""
    return f"{who} since {_at(pause.paused_at)}" + (f" ({pause.reason})" if pause.reason else "")


def _at(moment: datetime | None) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC" if moment else "an unknown time"


def _number(ahead: int) -> str:
    return f"{MOST_AHEAD} or more" if ahead >= MOST_AHEAD else str(ahead or "no")
