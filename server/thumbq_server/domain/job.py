"""The words of the queue: a job, its statuses, the lease on it, and what becomes of requests and reports.

Every transition between the statuses is one guarded statement in `storage.transitions`.
"""

from datetime import datetime
from enum import Enum
from typing import NamedTuple

INT64_MAX = 2**63 - 1

INT32_MAX = 2**31 - 1


class Token(NamedTuple):
    """Proof of one lease. `lease_seq` 0 stands for whatever lease the job has now (calls without a token)."""

    job_id: int
    lease_seq: int


class NewJob(NamedTuple):
    """A valid request for a thumbnail."""

    model_id: int
    model_hash: bytes
    priority: int
    max_attempts: int
    force: bool
    delay: float


class ClaimedJob(NamedTuple):
    """A job in the hands of a worker. A tuple, since thousands a second pass through."""

    job_id: int
    lease_seq: int
    model_id: int
    model_hash: bytes
    attempt: int
    priority: int
    max_attempts: int
    created_at: datetime
    claimed_at: datetime
    expires_at: datetime

    @property
    def token(self) -> Token:
        """Proof of its lease."""
        return Token(self.job_id, self.lease_seq)


class Completion(NamedTuple):
    """A picture, for the lease that it was made under. A tuple, since thousands a second pass through."""

    job_id: int
    lease_seq: int
    thumbnail_path: str
    size_bytes: int
    width: int
    height: int


class Failure(NamedTuple):
    """A failed attempt. `retry_delay` in seconds, None for the queue's back-off."""

    job_id: int
    lease_seq: int
    error_message: str
    retryable: bool
    retry_delay: float | None


def format_token(job_id: int, lease_seq: int) -> str:
    """The text by which a worker proves its lease. Opaque to clients."""
    return f"{job_id}-{lease_seq}"


class EnqueueOutcome(Enum):
    """What an enqueue found."""

    CREATED = "created"
    EXISTING = "existing"
    RESET = "reset"


class Enqueued(NamedTuple):
    """The answer to one NewJob."""

    job_id: int
    outcome: EnqueueOutcome


class Verdict(Enum):
    """What became of a worker's report."""

    OK = "ok"
    # the same report was taken before
    ALREADY_DONE = "already done"
    # the lease is another's, or gone
    STALE = "stale lease"
    # no lease was named, and the job has none
    NOT_PROCESSING = "not processing"
    NOT_FOUND = "not found"


class LostReason(Enum):
    """Why a lease ended without its holder's doing."""

    EXPIRED = "expired"
    CANCELLED = "cancelled"
    TAKEN_OVER = "taken over"


class Revival(Enum):
    """What an enqueue does with a job that exists."""

    KEEP = "keep"
    # ended: start anew
    RESET = "reset"
    # Pending: forget the failed attempts and the back-off
    RESTART = "restart"
    # Processing: run again after the present attempt
    RERUN = "rerun"


def revival(status: str, attempt_count: int, shown: bool, force: bool) -> Revival:
    """How an enqueue treats a known job. `shown`: its picture is the one that its model has now."""
    match status:
        case "Pending":
            return Revival.RESTART if force and attempt_count else Revival.KEEP
        case "Processing":
            return Revival.RERUN if force else Revival.KEEP
        case "Completed" if shown and not force:
            return Revival.KEEP
        case _:
            return Revival.RESET
