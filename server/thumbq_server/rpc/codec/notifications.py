"""Notifications, thumbnails, and the state of the queue: what pages and other programs see."""

from collections.abc import Iterable, Sequence
from datetime import datetime

from thumbq.v1 import job_pb2, notification_pb2
from thumbq.v1.notification_pb2 import ResetReason as ResetReasonNumber
from thumbq_server.domain.job import ThumbnailStatus
from thumbq_server.domain.progress import JobProgress
from thumbq_server.domain.records import CommitRecord, Snapshot, ThumbnailRecord
from thumbq_server.engine.readers.cursor import Cursor, ResetReason
from thumbq_server.rpc.codec.times import optional_timestamp, timestamp

THUMBNAIL_STATUS = {
    status: job_pb2.ThumbnailStatus.Value(f"THUMBNAIL_STATUS_{status.name}") for status in ThumbnailStatus
}
THUMBNAIL_STATUS_OF = {number: status for status, number in THUMBNAIL_STATUS.items()}
_RESET_REASON = {
    None: ResetReasonNumber.RESET_REASON_UNSPECIFIED,
    ResetReason.MALFORMED: ResetReasonNumber.RESET_REASON_MALFORMED,
    ResetReason.OTHER_LOG: ResetReasonNumber.RESET_REASON_OTHER_LOG,
    ResetReason.FUTURE: ResetReasonNumber.RESET_REASON_FUTURE,
    ResetReason.TOO_OLD: ResetReasonNumber.RESET_REASON_TOO_OLD,
}


def notifications(row: CommitRecord, epoch: str, start: int, most: int) -> list[notification_pb2.Notification]:
    """Return up to `most` notifications of one commit, from its number `start` on."""
    created_at = timestamp(row.created_at)
    status = THUMBNAIL_STATUS[row.status]
    piece = slice(start, start + most)
    model_ids = row.model_ids[piece]
    nothing = [None] * len(model_ids)
    error_messages: Sequence[str | None] = row.error_messages[piece] if row.error_messages else nothing
    next_attempt_ats: Sequence[datetime | None] = row.next_attempt_ats[piece] if row.next_attempt_ats else nothing
    ready = row.status is ThumbnailStatus.READY
    return [
        notification_pb2.Notification(
            cursor=f"{epoch}-{seq}",
            model_id=model_id,
            job_id=job_id,
            status=status,
            thumbnail_url=file_url(model_id) if ready and not row.test else row.thumbnail_url,
            error_message=error_message,
            attempt_count=attempt_count,
            will_retry=next_attempt_at is not None,
            next_attempt_at=optional_timestamp(next_attempt_at),
            timestamp=created_at,
            test=row.test,
        )
        for seq, model_id, job_id, attempt_count, error_message, next_attempt_at in zip(
            range(row.seq_first, row.seq_last + 1)[piece],
            model_ids,
            row.job_ids[piece],
            row.attempt_counts[piece],
            error_messages,
            next_attempt_ats,
            strict=True,
        )
    ]


def progress(rows: Iterable[JobProgress]) -> list[notification_pb2.JobProgress]:
    """Return how far jobs have come."""
    return [
        notification_pb2.JobProgress(
            model_id=row.model_id,
            job_id=row.job_id,
            attempt_count=row.attempt,
            progress=row.fraction,
            progress_text=row.message,
            progress_at=timestamp(row.reported_at),
        )
        for row in rows
    ]


def moved(cursor: Cursor, reset: ResetReason | None = None) -> notification_pb2.SubscribeResponse:
    """Return a message that has only the cursor to go on from, and whether there is a hole before it."""
    return notification_pb2.SubscribeResponse(
        cursor=str(cursor), reset=reset is not None, reset_reason=_RESET_REASON[reset]
    )


def file_url(model_id: int) -> str:
    """Return where the gateway serves the picture of a model (contract)."""
    return f"/models/{model_id}/thumbnail/file"


def version_file_url(version_id: int) -> str:
    """Return where the gateway serves the picture of a version."""
    return f"/model-versions/{version_id}/thumbnail/file"


def thumbnail(row: ThumbnailRecord, cursor: Cursor | None = None, version_id: int = 0) -> job_pb2.Thumbnail:
    """Return what to show for a model or a version, read when the log stood at the cursor or later."""
    has_file = row.path is not None
    url = version_file_url(version_id) if version_id else file_url(row.model_id)
    return job_pb2.Thumbnail(
        model_id=row.model_id,
        status=THUMBNAIL_STATUS[row.status],
        file_url=url if has_file else None,
        model_version_id=version_id or None,
        size_bytes=row.size_bytes,
        width=row.width,
        height=row.height,
        error_message=row.error_message,
        created_at=optional_timestamp(row.created_at),
        processed_at=optional_timestamp(row.processed_at),
        path=row.path,
        model_hash=row.model_hash.hex() if row.model_hash else None,
        cursor="" if cursor is None else str(cursor),
    )


def snapshot(queue: Snapshot) -> notification_pb2.QueueSnapshot:
    """Return the queue as a whole."""
    counters = queue.counters
    return notification_pb2.QueueSnapshot(
        pending=counters.pending,
        processing=counters.processing,
        completed=counters.completed,
        failed=counters.failed,
        cancelled=counters.cancelled,
        rendering=[
            notification_pb2.QueueSnapshot.Rendering(
                model_id=row.model_id,
                job_id=row.job_id,
                worker_id=row.worker_id,
                attempt_count=row.attempt,
                claimed_at=timestamp(row.claimed_at),
            )
            for row in queue.rendering
        ],
        timestamp=timestamp(queue.timestamp),
    )
