"""The words of the queue: a job, its statuses, the lease on it, and the answers to requests and reports.

Every transition between the statuses is one guarded statement in `storage.transitions`.
"""

from collections.abc import Sequence
from datetime import datetime
from enum import Enum, StrEnum
from typing import NamedTuple

from thumbq_server.domain.traces import Trace

INT64_MAX = 2**63 - 1


class JobStatus(StrEnum):
    """The states of a job, in the words of JSON, SQL and pages."""

    PENDING = "Pending"
    PROCESSING = "Processing"
    COMPLETED = "Completed"
    FAILED = "Failed"
    CANCELLED = "Cancelled"


LIVE = (JobStatus.PENDING, JobStatus.PROCESSING)
ENDED = (JobStatus.COMPLETED, JobStatus.FAILED, JobStatus.CANCELLED)


class ThumbnailStatus(StrEnum):
    """What a model shows, in the words of JSON, SQL and pages."""

    NONE = "None"
    PENDING = "Pending"
    PROCESSING = "Processing"
    READY = "Ready"
    FAILED = "Failed"


class AttemptOutcome(StrEnum):
    """How an attempt ended, in the words of SQL."""

    COMPLETED = "Completed"
    FAILED = "Failed"
    CANCELLED = "Cancelled"
    # given back unspent
    RELEASED = "Released"


class Token(NamedTuple):
    """Proof of one lease. `lease_seq` 0 stands for whatever lease the job has now (calls without a token)."""

    job_id: int
    lease_seq: int


# The kind of a job that names none, and of all jobs that a worker takes which names no kinds.
MODEL = "Model"


class NewJob(NamedTuple):
    """A valid request for a thumbnail. `options` are canonical JSON; see `domain.kinds`."""

    model_id: int
    model_hash: bytes
    priority: int
    max_attempts: int
    force: bool
    delay: float
    kind: str = MODEL
    options: str | None = None
    # other options than those of the known job make it start again
    options_matter: bool = False
    # of the span that asks for it
    traceparent: str | None = None

    def differs_from(self, kind: str, options: str | None) -> bool:
        """Whether this asks for something else than a known job of the same file."""
        return kind != self.kind or (self.options_matter and options != self.options)


class ClaimedJob(NamedTuple):
    """A claimed job and its lease. Many at once are columns (`domain.columns`)."""

    job_id: int
    lease_seq: int
    model_id: int
    model_hash: bytes
    attempt: int
    priority: int
    max_attempts: int
    created_at: datetime
    kind: str
    options: str | None
    claimed_at: datetime
    expires_at: datetime
    trace: Trace | None = None

    @property
    def token(self) -> Token:
        """Proof of its lease."""
        return Token(self.job_id, self.lease_seq)


class Completion(NamedTuple):
    """A picture, and the lease that it was made under. The order is that of the statement's parameters."""

    job_id: int
    lease_seq: int
    thumbnail_path: str
    size_bytes: int
    width: int
    height: int


class Failure(NamedTuple):
    """A failed attempt. `retry_delay` in seconds, None for the queue's back-off.

    The order is that of the statement's parameters.
    """

    job_id: int
    lease_seq: int
    error_message: str
    retryable: bool
    retry_delay: float | None
    # of the attempt
    traceparent: str | None = None


def format_token(job_id: int, lease_seq: int, history: str) -> str:
    """Return the text that proves a lease. It is opaque to clients.

    `history` names the history of the database that the lease is in: in another one, the same numbers may belong to the
    job of another model.
    """
    return f"{job_id}-{lease_seq}-{history}"


class EnqueueOutcome(Enum):
    """What an enqueue did for one request."""

    CREATED = "created"
    EXISTING = "existing"
    RESET = "reset"


class Enqueued(NamedTuple):
    """The answer to one NewJob."""

    job_id: int
    outcome: EnqueueOutcome


class Verdict(Enum):
    """The answer to a worker's report."""

    OK = "ok"
    # the same report was taken before
    ALREADY_DONE = "already done"
    # the lease is another's, or gone
    STALE = "stale lease"
    # no lease was named, and the job has none
    NOT_PROCESSING = "not processing"
    NOT_FOUND = "not found"


class Reported(NamedTuple):
    """The answer to one report. `model_id` is 0 where the job is unknown."""

    verdict: Verdict
    model_id: int


class Extension(NamedTuple):
    """The answer to one request for a longer lease; `expires_at` is its new end."""

    verdict: Verdict
    expires_at: datetime | None


class LostReason(Enum):
    """Why a lease ended without a report of its holder."""

    EXPIRED = "expired"
    CANCELLED = "cancelled"
    TAKEN_OVER = "taken over"


class CancelVerdict(Enum):
    """The answer to a request to cancel a job."""

    CANCELLED = "cancelled"
    ALREADY_CANCELLED = "already cancelled"
    # Completed or Failed: it stays so
    ALREADY_ENDED = "already ended"
    NOT_FOUND = "not found"


class Cancellation(NamedTuple):
    """The answer for one job, and the lease that its worker lost by it. `session` is None where no worker held it."""

    job_id: int
    verdict: CancelVerdict
    session: int | None = None
    lease: Token | None = None


class ForgottenModel(NamedTuple):
    """The jobs that a model had, the sessions that held leases of them, and how many pictures are to be removed."""

    job_ids: Sequence[int]
    leases: Sequence[tuple[int, Token]]
    pictures: int


class RetryVerdict(Enum):
    """The answer to a request to retry a job."""

    RETRIED = "retried"
    # Pending without a failed attempt: it runs anyway
    ALREADY_PENDING = "already pending"
    PROCESSING = "processing"
    NOT_FOUND = "not found"


class Retrial(NamedTuple):
    """The answer for one job."""

    job_id: int
    verdict: RetryVerdict


class Revival(Enum):
    """How an enqueue treats a job that exists."""

    KEEP = "keep"
    # it has ended, and starts again
    RESET = "reset"
    # Pending: its failed attempts and its back-off are forgotten, or it is of another kind now
    RESTART = "restart"
    # Processing: it runs again after the present attempt
    RERUN = "rerun"


def revival(status: JobStatus, attempt_count: int, *, shown: bool, force: bool, differs: bool = False) -> Revival:
    """Return how an enqueue treats a known job.

    `shown`: its picture is the one that its model has now. `differs`: another kind or other options are asked for.
    """
    match status:
        case JobStatus.PENDING:
            return Revival.RESTART if differs or (force and attempt_count) else Revival.KEEP
        case JobStatus.PROCESSING:
            return Revival.RERUN if force or differs else Revival.KEEP
        case JobStatus.COMPLETED if shown and not force and not differs:
            return Revival.KEEP
        case _:
            return Revival.RESET
