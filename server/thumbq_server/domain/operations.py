"""What an operator sees: the queue in figures, its workers, and why a job waits."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from enum import Enum, auto
from typing import NamedTuple

from thumbq_runtime.text import printable
from thumbq_server.domain.job import MODEL, JobStatus
from thumbq_server.domain.progress import ProgressRecord
from thumbq_server.domain.records import Counters, JobRecord
from thumbq_server.domain.refusals import Invalid
from thumbq_server.domain.requests import MAX_ERROR_MESSAGE

MAX_PAUSED_BY, MAX_PAUSE_REASON = 200, 500
SHORTEST_RETENTION, LONGEST_RETENTION = timedelta(minutes=1), timedelta(days=36_500)
# The count of due jobs ahead of another stops here.
MOST_AHEAD = 10_000


class Pause(NamedTuple):
    """Who stopped the queue, when and why."""

    paused_at: datetime
    paused_by: str
    reason: str


class MinuteActivity(NamedTuple):
    """How many attempts ended in one minute, by how they ended; and jobs that were cancelled as they waited."""

    minute: datetime
    completed: int
    failed: int
    expired: int
    cancelled: int
    released: int


class Quantiles(NamedTuple):
    """Seconds that half, 95 % and 99 % of the samples do not exceed."""

    p50: float
    p95: float
    p99: float


class Durations(NamedTuple):
    """How long the attempts that ended last waited and took; None without any."""

    samples: int
    wait: Quantiles | None
    processing: Quantiles | None


class Depth(NamedTuple):
    """How much there is to do, and who is there to do it. `oldest_age`: seconds, None when nothing is due."""

    counters: Counters
    oldest_age: float | None
    workers: int
    pause: Pause | None


class Statistics(NamedTuple):
    """The queue in figures."""

    depth: Depth
    minutes: Sequence[MinuteActivity]
    durations: Durations
    # How many Pending jobs the queue takes, and how full it is; None without a limit.
    limit: int | None = None
    pressure: float | None = None


class Condition(NamedTuple):
    """How the database is: dead rows by table, seconds of the oldest transaction, who waits for a lock, bytes.

    The seconds of the transaction are 0 without another one, and None when the role may not see those of others.
    """

    dead_rows: Mapping[str, int]
    oldest_transaction: float | None
    lock_waits: int
    longest_lock_wait: float
    size_bytes: int


class WorkerState(NamedTuple):
    """A session of a worker. `gone`: it was not heard of for a minute, and holds no job.

    `completed` and `failed` are attempts that ended since it was first seen. The rate is that of about the last minute.
    """

    worker_id: str
    session_id: str
    version: str
    labels: Mapping[str, str]
    first_seen_at: datetime
    last_seen_at: datetime
    in_flight: int
    gone: bool
    completed: int
    failed: int
    completed_per_minute: float


class DeadLetters(NamedTuple):
    """The ids of some dead letters, the highest first. Further ones are below `next_below`; None: there are none."""

    job_ids: Sequence[int]
    next_below: int | None


class Pruned(NamedTuple):
    """How much was deleted. Jobs after `next_after` were not looked at; None: all were."""

    jobs: int
    notifications: int
    next_after: int | None


class WaitReason(Enum):
    """Why a job does not run."""

    NONE = auto()
    NOT_DUE = auto()
    PAUSED = auto()
    NO_WORKER = auto()
    WORKERS_FULL = auto()


class Explanation(NamedTuple):
    """How a job stands, and the answer for people."""

    job: JobRecord
    reason: WaitReason
    sentence: str
    ahead: int
    workers: int
    pause: Pause | None
    progress: ProgressRecord | None = None


def explain(job: JobRecord, now: datetime, depth: Depth, ahead: int) -> Explanation:
    """Return why a job waits, or how it stands otherwise."""
    reason, sentence = _explain_pending(job, now, depth, ahead) if job.run_at else (WaitReason.NONE, _stands(job))
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


def _explain_pending(job: JobRecord, now: datetime, depth: Depth, ahead: int) -> tuple[WaitReason, str]:
    if job.run_at is not None and job.run_at > now:
        when = f"at {_at(job.run_at)}, in {(job.run_at - now).total_seconds():.0f} s"
        if job.attempt_count:
            attempts = f"Attempt {job.attempt_count} of {job.max_attempts}"
            return WaitReason.NOT_DUE, f"{attempts} failed; the next is due {when}."
        return WaitReason.NOT_DUE, f"It was enqueued with a delay, and is due {when}."
    if depth.pause is not None:
        return WaitReason.PAUSED, f"It is due, but the queue is paused{_by(depth.pause)}."
    if not depth.workers:
        return WaitReason.NO_WORKER, "It is due, but no worker is connected."
    before = f"{_number(ahead)} jobs are ahead of it" if ahead != 1 else "1 job is ahead of it"
    # Which kinds a worker takes is known to its own server alone.
    kind = "Models" if job.kind == MODEL else job.kind
    return WaitReason.WORKERS_FULL, f"It is due, and waits for a free slot of a worker that takes {kind}; {before}."


def _by(pause: Pause) -> str:
    who = f" by {pause.paused_by}" if pause.paused_by else ""
    return f"{who} since {_at(pause.paused_at)}" + (f" ({pause.reason})" if pause.reason else "")


def _at(moment: datetime | None) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC" if moment else "an unknown time"


def _number(ahead: int) -> str:
    return f"{MOST_AHEAD} or more" if ahead >= MOST_AHEAD else str(ahead or "no")


def check_text(text: str, limit: int, what: str) -> str:
    """Return a text of an operator; raise Invalid when it is too long, or logs and terminals would escape it."""
    if len(text) > limit:
        raise Invalid(f"{what} must have at most {limit} characters")
    wrong = next((character for character in text if printable(character) != character), None)
    if wrong is not None:
        raise Invalid(f"{what} has a character that is not printable (U+{ord(wrong):04X})")
    return text


def check_filter(text: str, what: str) -> str:
    """Return a text that rows are looked for by, in which any character of an error message may stand."""
    if len(text) > MAX_ERROR_MESSAGE:
        raise Invalid(f"{what} must have at most {MAX_ERROR_MESSAGE} characters")
    return text.replace("\0", "\ufffd")


def check_retention(age: timedelta) -> float:
    """Return the seconds of a valid age; raise Invalid otherwise.

    Clients still ask for jobs that ended less than a minute ago. Long before the longest age, there were no jobs.
    """
    if not SHORTEST_RETENTION <= age <= LONGEST_RETENTION:
        raise Invalid("finishedBefore must be between one minute and 100 years")
    return age.total_seconds()
