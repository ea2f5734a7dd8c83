"""What an operator sees: the queue in figures, and its workers."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from thumbq_runtime.text import printable
from thumbq_server.domain.records import Counters
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
