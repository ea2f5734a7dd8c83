"""Versions of a model: each is one of its files, with a thumbnail of its own."""

from datetime import datetime
from typing import NamedTuple

from thumbq_server.domain.job import JobStatus, ThumbnailStatus
from thumbq_server.domain.records import ThumbnailRecord


class NewVersion(NamedTuple):
    """What a producer says of a version. The storage takes the fields in this order."""

    version_id: int
    model_id: int
    model_hash: bytes


class VersionRecord(NamedTuple):
    """A version, its last picture, and the job of its file; without a job, the last three are None."""

    model_id: int
    model_hash: bytes
    created_at: datetime
    processed_at: datetime | None
    path: str | None
    size_bytes: int | None
    width: int | None
    height: int | None
    job_status: str | None
    attempt_count: int | None
    error_message: str | None


UNKNOWN_VERSION = ThumbnailRecord(0, ThumbnailStatus.NONE, *[None] * 8)


def shown(version: VersionRecord) -> ThumbnailRecord:
    """Return what to show for a version of a model. As for the model, a failed attempt leaves the last good picture."""
    status = _status(version)
    return ThumbnailRecord(
        model_id=version.model_id,
        status=status,
        error_message=version.error_message if status is ThumbnailStatus.FAILED else None,
        created_at=version.created_at,
        processed_at=version.processed_at,
        path=version.path,
        size_bytes=version.size_bytes,
        width=version.width,
        height=version.height,
        model_hash=version.model_hash,
    )


def _status(version: VersionRecord) -> ThumbnailStatus:
    match version.job_status:
        case JobStatus.PROCESSING:
            return ThumbnailStatus.PROCESSING
        case JobStatus.PENDING:
            return ThumbnailStatus.FAILED if version.attempt_count else ThumbnailStatus.PENDING
        case JobStatus.FAILED:
            return ThumbnailStatus.FAILED
    return ThumbnailStatus.READY if version.path else ThumbnailStatus.NONE
