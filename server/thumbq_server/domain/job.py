"""The rules of a job: what a request may say, and what a lease token is.

The state machine itself is in `storage`: every transition is one guarded statement there.
"""

import posixpath
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum
from typing import NamedTuple

MAX_WORKER_ID = 100
MAX_ERROR_MESSAGE = 1000
MAX_THUMBNAIL_PATH = 500
MAX_PRIORITY = 9
MAX_BATCH = 10_000
MAX_DELAY = timedelta(days=30)
MAX_RETRY_DELAY = timedelta(days=1)
MAX_WAIT = timedelta(seconds=30)
MAX_LEASE = timedelta(hours=1)
DEFAULT_MAX_ATTEMPTS = 3
TRUNCATED = " … [truncated]"
INT64_MAX = 2**63 - 1
INT32_MAX = 2**31 - 1


class Refused(Exception):
    """A request that cannot be granted; nothing was changed. The text is for the caller."""


class Invalid(Refused):
    """The request itself is wrong."""


class NotFound(Refused):
    """There is no such job."""

    def __init__(self, job_id: int) -> None:
        super().__init__(f"Thumbnail job with ID {job_id} was not found.")


class WrongState(Refused):
    """The job, or the lease on it, is not in a state for this."""


NOT_PROCESSING = "Job is not in processing state."
ALREADY_ENDED = "Job has ended already."
NOT_ENDED = "Job is {status}; only an ended or waiting job can be retried."
STALE_LEASE = "The lease on this job is no longer yours."


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


@dataclass(frozen=True, slots=True)
class PathRule:
    """Where thumbnails may be. No roots: anywhere."""

    roots: tuple[str, ...] = ()

    def check(self, path: str) -> str:
        """Return `path` when it is absolute, without "..", and inside the roots; raise Invalid otherwise."""
        if not path:
            raise Invalid("thumbnailPath is required")
        if len(path) > MAX_THUMBNAIL_PATH:
            raise Invalid(f"thumbnailPath is longer than {MAX_THUMBNAIL_PATH} characters")
        if "\0" in path:
            raise Invalid("thumbnailPath contains a NUL character")
        if ".." in path and ".." in path.replace("\\", "/").split("/"):
            raise Invalid("thumbnailPath must not contain '..'")
        if path[0] != "/":
            raise Invalid("thumbnailPath must be absolute")
        if self.roots and not any(posixpath.normpath(path).startswith(f"{root}/") for root in self.roots):
            raise Invalid("thumbnailPath is outside the thumbnail roots")
        return path


def format_token(job_id: int, lease_seq: int) -> str:
    """The text by which a worker proves its lease. Opaque to clients."""
    return f"{job_id}-{lease_seq}"


def parse_token(text: str) -> Token:
    """The inverse of `format_token`; raise Invalid for anything else."""
    job_id, _, lease_seq = text.partition("-")
    # isascii too: isdigit() alone is true for "²", which int() refuses
    if job_id.isdigit() and lease_seq.isdigit() and text.isascii() and len(text) <= 32:
        token = Token(int(job_id), int(lease_seq))
        if token.job_id <= INT64_MAX and 0 < token.lease_seq <= INT32_MAX:
            return token
    raise Invalid("leaseToken is malformed")


def check_worker_id(worker_id: str) -> str:
    """The trimmed worker id; raise Invalid when it is blank, too long or has control characters."""
    worker_id = worker_id.strip()
    if not worker_id:
        raise Invalid("WorkerId is required")
    if len(worker_id) > MAX_WORKER_ID:
        raise Invalid(f"WorkerId is longer than {MAX_WORKER_ID} characters")
    if not worker_id.isprintable():
        raise Invalid("WorkerId contains control characters")
    return worker_id


def check_new_job(
    model_id: int, model_hash: str, priority: int, max_attempts: int | None, force: bool, delay: timedelta
) -> NewJob:
    """A valid NewJob from what a producer sent; raise Invalid with a sentence otherwise."""
    if model_id <= 0:
        raise Invalid("modelId must be a positive integer")
    if len(model_hash) != 64:
        raise Invalid("modelHash must be a SHA-256 in 64 hexadecimal digits")
    try:
        digest = bytes.fromhex(model_hash)
    except ValueError:
        digest = b""
    if len(digest) != 32:
        raise Invalid("modelHash must be a SHA-256 in 64 hexadecimal digits")
    if not 0 <= priority <= MAX_PRIORITY:
        raise Invalid(f"priority must be between 0 and {MAX_PRIORITY}")
    if max_attempts is None:
        max_attempts = DEFAULT_MAX_ATTEMPTS
    elif not 1 <= max_attempts <= 10:
        raise Invalid("maxAttempts must be between 1 and 10")
    if not timedelta(0) <= delay <= MAX_DELAY:
        raise Invalid(f"delay must be between 0 and {MAX_DELAY.days} days")
    return NewJob(model_id, digest, priority, max_attempts, force, delay.total_seconds())


def check_completion(
    token: Token,
    thumbnail_path: str,
    size_bytes: int | None,
    width: int | None,
    height: int | None,
    paths: PathRule,
) -> Completion:
    """A valid Completion from what a worker sent; raise Invalid with a sentence otherwise."""
    paths.check(thumbnail_path)
    if size_bytes is None or size_bytes < 0:
        raise Invalid("sizeBytes is required" if size_bytes is None else "sizeBytes must not be negative")
    if width is None or height is None:
        raise Invalid("width and height are required")
    if width < 1 or height < 1:
        raise Invalid("width and height must be 1 or more")
    return Completion(token.job_id, token.lease_seq, thumbnail_path, size_bytes, width, height)


def check_failure(token: Token, error_message: str, retryable: bool, retry_delay: timedelta | None) -> Failure:
    """A valid Failure from what a worker sent; raise Invalid with a sentence otherwise.

    A message over the limit is cut rather than refused: refusing it would leave the job locked.
    """
    if retry_delay is not None and not timedelta(0) <= retry_delay <= MAX_RETRY_DELAY:
        raise Invalid("retryDelay must be between 0 and 1 day")
    seconds = None if retry_delay is None else retry_delay.total_seconds()
    return Failure(token.job_id, token.lease_seq, check_error_message(error_message), retryable, seconds)


def check_error_message(text: str) -> str:
    """The message as it is stored: not blank, without NUL (PostgreSQL has no room for it), cut to the limit."""
    text = text.replace("\0", "\ufffd")
    if not text.strip():
        raise Invalid("Error message cannot be null or empty.")
    if len(text) > MAX_ERROR_MESSAGE:
        return text[: MAX_ERROR_MESSAGE - len(TRUNCATED)] + TRUNCATED
    return text


def check_batch(items: Sequence[object], what: str) -> None:
    """Raise Invalid unless there are 1 to MAX_BATCH items."""
    if not items:
        raise Invalid(f"{what} must not be empty")
    if len(items) > MAX_BATCH:
        raise Invalid(f"{what} has {len(items)} items; at most {MAX_BATCH} are taken at once")


def check_wait(wait: timedelta) -> float:
    """Seconds to wait; raise Invalid outside 0 to 30 s."""
    if not timedelta(0) <= wait <= MAX_WAIT:
        raise Invalid(f"wait must be between 0 and {MAX_WAIT.seconds} seconds")
    return wait.total_seconds()


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
