"""What Client takes and returns, in Python's own types."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal, cast

from google.protobuf.timestamp_pb2 import Timestamp

from thumbq.client.errors import InvalidJob, InvalidRequest
from thumbq.options import check_exact, options_of
from thumbq.v1 import job_pb2, queue_pb2

JobStatusWord = Literal["Pending", "Processing", "Completed", "Failed", "Cancelled"]
ThumbnailStatusWord = Literal["None", "Pending", "Processing", "Ready", "Failed"]
Outcome = Literal["Created", "Existing", "Reset"]
# Seconds, or a timedelta.
Seconds = float | timedelta

_HASH = re.compile(r"[0-9a-fA-F]{64}")
# In the order of their numbers in the protocol, from 1.
_JOB_STATUSES: tuple[JobStatusWord, ...] = ("Pending", "Processing", "Completed", "Failed", "Cancelled")
_THUMBNAIL_STATUSES: tuple[ThumbnailStatusWord, ...] = ("None", "Pending", "Processing", "Ready", "Failed")
_OUTCOMES: dict[int, Outcome] = {
    queue_pb2.ENQUEUE_OUTCOME_CREATED: "Created",
    queue_pb2.ENQUEUE_OUTCOME_EXISTING: "Existing",
    queue_pb2.ENQUEUE_OUTCOME_RESET: "Reset",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A thumbnail to be made: of a model's file, named by its SHA-256 as 64 hexadecimal digits or as 32 bytes.

    `priority` is 0 to 9, higher first; `max_attempts` 1 to 10, None for the server's default; `delay` the time for
    which no worker gets the job. A failed or cancelled job starts again; with `force`, a completed one too.

    `kind` decides which workers get the job, and `options` (a JSON object of up to 4 KiB) go to its handler. A job that
    exists with other options starts again only if `options_matter`.
    """

    model_id: int
    model_hash: str | bytes
    priority: int = 0
    max_attempts: int | None = None
    delay: Seconds = 0.0
    force: bool = False
    model_version_id: int | None = None
    kind: str = "Model"
    options: Mapping[str, object] | None = None
    options_matter: bool = False

    def message(self) -> queue_pb2.NewJob:
        """Return the protocol's form. Raises InvalidJob."""
        try:
            job = queue_pb2.NewJob(
                model_id=self.model_id,
                model_hash=hash_text(self.model_hash),
                priority=self.priority,
                max_attempts=self.max_attempts,
                force=self.force,
                model_version_id=self.model_version_id or 0,
                kind="" if self.kind == "Model" else self.kind,
                options_matter=self.options_matter,
            )
            if self.options is not None:
                check_exact(self.options)
                job.options.update(cast("dict[str, Any]", dict(self.options)))
            if self.delay:
                job.delay.FromTimedelta(timedelta(seconds=in_seconds(self.delay)))
        except (TypeError, ValueError, OverflowError) as error:
            raise InvalidJob(f"the job of model {self.model_id}: {error}") from None
        return job


@dataclass(frozen=True, slots=True)
class Answer:
    """The queue's answer to a Request: the job's id, and whether it was created, existed, or was reset."""

    job_id: int
    outcome: Outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class JobInfo:
    """A job as it stood when it was read."""

    id: int
    model_id: int
    model_hash: str
    status: JobStatusWord
    attempt_count: int
    max_attempts: int
    priority: int
    created_at: datetime
    updated_at: datetime
    run_at: datetime | None
    lease_expires_at: datetime | None
    finished_at: datetime | None
    worker_id: str | None
    error_message: str | None
    model_version_id: int | None
    kind: str
    options: Mapping[str, object]
    # How far the worker has come (0 to 1), and what it does, while it tells: `report_progress`.
    progress: float | None = None
    progress_text: str | None = None
    progress_at: datetime | None = None

    @property
    def ended(self) -> bool:
        """Whether nothing more happens with the job unless it is asked for again."""
        return self.status not in ("Pending", "Processing")


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """What a page can show for a model. `url` is a path at the gateway, `path` the file as its worker named it.

    `model_hash` is that of the file that the picture shows. A newer request may have replaced the one that you asked
    for. Subscribe after `cursor` to miss no later change.
    """

    model_id: int
    status: ThumbnailStatusWord
    url: str | None
    path: str | None
    size_bytes: int | None
    width: int | None
    height: int | None
    model_hash: str | None
    error_message: str | None
    processed_at: datetime | None
    cursor: str


@dataclass(frozen=True, slots=True, kw_only=True)
class JobEvent:
    """A line that a worker wrote into the log of a job."""

    event_type: str
    message: str
    error_message: str | None
    created_at: datetime


def hash_file(path: str | os.PathLike[str]) -> str:
    """Return the SHA-256 of a file, as Request takes it."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def hash_text(value: object) -> str:
    """Return a hash as 64 hexadecimal digits. Raises ValueError."""
    text = value.hex() if isinstance(value, bytes) else value
    if not (isinstance(text, str) and _HASH.fullmatch(text)):
        raise ValueError("model_hash must be 64 hexadecimal digits, or 32 bytes")
    return text.lower()


def in_seconds(value: Seconds) -> float:
    """Return a duration as seconds."""
    return value.total_seconds() if isinstance(value, timedelta) else value


def job_status(word: JobStatusWord | None) -> job_pb2.JobStatus.ValueType:
    """Return the protocol's number of a status; None is all. Raises InvalidRequest."""
    if word is None:
        return job_pb2.JOB_STATUS_UNSPECIFIED
    if word.capitalize() not in _JOB_STATUSES:
        raise InvalidRequest(f"{word} is no status of a job: there are {', '.join(_JOB_STATUSES)}")
    return job_pb2.JobStatus.Value(f"JOB_STATUS_{word.upper()}")


def thumbnail_status(word: ThumbnailStatusWord) -> job_pb2.ThumbnailStatus.ValueType:
    """Return the protocol's number of a status. Raises InvalidRequest."""
    if word.capitalize() not in _THUMBNAIL_STATUSES:
        raise InvalidRequest(f"{word} is no status of a thumbnail: there are {', '.join(_THUMBNAIL_STATUSES)}")
    return job_pb2.ThumbnailStatus.Value(f"THUMBNAIL_STATUS_{word.upper()}")


def outcome(number: int) -> Outcome:
    """Return the outcome of an enqueue."""
    return _OUTCOMES[number]


def job_info(job: job_pb2.Job) -> JobInfo:
    """Return a job in Python's types."""
    return JobInfo(
        id=job.id,
        model_id=job.model_id,
        model_hash=job.model_hash,
        status=_JOB_STATUSES[job.status - 1],
        attempt_count=job.attempt_count,
        max_attempts=job.max_attempts,
        priority=job.priority,
        created_at=_time(job.created_at),
        updated_at=_time(job.updated_at),
        run_at=_time(job.run_at) if job.HasField("run_at") else None,
        lease_expires_at=_time(job.lease_expires_at) if job.HasField("lease_expires_at") else None,
        finished_at=_time(job.finished_at) if job.HasField("finished_at") else None,
        worker_id=job.worker_id if job.HasField("worker_id") else None,
        error_message=job.error_message if job.HasField("error_message") else None,
        model_version_id=job.model_version_id if job.HasField("model_version_id") else None,
        kind=job.asset_type,
        options=options_of(job),
        progress=job.progress if job.HasField("progress") else None,
        progress_text=job.progress_text if job.HasField("progress_text") else None,
        progress_at=_time(job.progress_at) if job.HasField("progress_at") else None,
    )


def picture(thumbnail: job_pb2.Thumbnail, cursor: str = "") -> Picture:
    """Return a thumbnail in Python's types. `cursor` belongs to those that were read together."""
    return Picture(
        model_id=thumbnail.model_id,
        status=_THUMBNAIL_STATUSES[thumbnail.status - 1],
        url=thumbnail.file_url if thumbnail.HasField("file_url") else None,
        path=thumbnail.path if thumbnail.HasField("path") else None,
        size_bytes=thumbnail.size_bytes if thumbnail.HasField("size_bytes") else None,
        width=thumbnail.width if thumbnail.HasField("width") else None,
        height=thumbnail.height if thumbnail.HasField("height") else None,
        model_hash=thumbnail.model_hash if thumbnail.HasField("model_hash") else None,
        error_message=thumbnail.error_message if thumbnail.HasField("error_message") else None,
        processed_at=_time(thumbnail.processed_at) if thumbnail.HasField("processed_at") else None,
        cursor=thumbnail.cursor or cursor,
    )


def job_event(event: queue_pb2.JobEvent) -> JobEvent:
    """Return a line of a job's log in Python's types."""
    return JobEvent(
        event_type=event.event_type,
        message=event.message,
        error_message=event.error_message if event.HasField("error_message") else None,
        created_at=_time(event.created_at),
    )


def _time(value: Timestamp) -> datetime:
    return value.ToDatetime(UTC)
