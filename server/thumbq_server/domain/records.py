"""What the storage tells of jobs, models and the queue: one named row for each question."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from thumbq_server.domain.job import AttemptOutcome, JobStatus, ThumbnailStatus, Verdict


class JobRecord(NamedTuple):
    """A job as anybody may see it: without the token of its lease."""

    id: int
    model_id: int
    model_hash: bytes
    request_no: int
    priority: int
    max_attempts: int
    error_message: str | None
    created_at: datetime
    finished_at: datetime | None
    status: JobStatus
    attempt_count: int
    lease_seq: int
    updated_at: datetime
    run_at: datetime | None
    lease_expires_at: datetime | None
    worker_id: str | None
    kind: str
    options: str | None


class ThumbnailRecord(NamedTuple):
    """What a model shows. `path` and the four after it belong to its last good picture."""

    model_id: int
    status: ThumbnailStatus
    error_message: str | None
    created_at: datetime | None
    processed_at: datetime | None
    path: str | None
    size_bytes: int | None
    width: int | None
    height: int | None
    model_hash: bytes | None


class AttemptRecord(NamedTuple):
    """An attempt that has ended. `worker_id` and `claimed_at` are None for a job that was cancelled while it waited."""

    attempt: int
    lease_seq: int
    worker_id: str | None
    claimed_at: datetime | None
    ended_at: datetime
    outcome: AttemptOutcome
    error_message: str | None
    path: str | None
    next_attempt_at: datetime | None


class Counters(NamedTuple):
    """How many jobs are in each status."""

    pending: int
    processing: int
    completed: int
    failed: int
    cancelled: int


class Rendering(NamedTuple):
    """A job under way."""

    model_id: int
    job_id: int
    worker_id: str
    attempt: int
    claimed_at: datetime


class Snapshot(NamedTuple):
    """The queue as a whole, at one time; `rendering` has the newest 100 jobs under way."""

    counters: Counters
    rendering: Sequence[Rendering]
    timestamp: datetime


class CommitRecord(NamedTuple):
    """The notifications seq_first to seq_last of one commit: their columns side by side, an entry for each."""

    seq_last: int
    seq_first: int
    created_at: datetime
    status: ThumbnailStatus
    test: bool
    model_ids: Sequence[int]
    job_ids: Sequence[int]
    attempt_counts: Sequence[int]
    error_messages: Sequence[str | None] | None
    next_attempt_ats: Sequence[datetime | None] | None
    thumbnail_url: str | None


class Expired(NamedTuple):
    """An attempt whose lease ran out. `due_in`: seconds until the next attempt, None when there is none."""

    job_id: int
    lease_seq: int
    due_in: float | None


class FailureReported(NamedTuple):
    """The answer to one Failure; `due_in` as in Expired."""

    verdict: Verdict
    model_id: int
    due_in: float | None


class LogHead(NamedTuple):
    """The newest position in the log of notifications. `epoch` tells one log from another; seq 0: it is empty."""

    epoch: str
    seq: int
