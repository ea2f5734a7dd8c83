"""Between rows and messages. Thousands a second go through `add_claimed` and `read_results`."""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from google.protobuf.duration_pb2 import Duration
from google.protobuf.internal.containers import RepeatedCompositeFieldContainer
from google.protobuf.timestamp_pb2 import Timestamp

from thumbq.v1 import job_pb2, notification_pb2, queue_pb2
from thumbq_server.domain.job import ClaimedJob, Completion, Failure, Token, Verdict, format_token
from thumbq_server.domain.records import CommitRecord, JobRecord, Snapshot, ThumbnailRecord
from thumbq_server.domain.refusals import Invalid
from thumbq_server.domain.requests import PathRule, check_completion, check_failure, parse_token

JOB_STATUS = {name.removeprefix("JOB_STATUS_").capitalize(): number for name, number in job_pb2.JobStatus.items()}
JOB_STATUS_WORD = {number: word for word, number in JOB_STATUS.items()}
THUMBNAIL_STATUS = {
    name.removeprefix("THUMBNAIL_STATUS_").capitalize(): number for name, number in job_pb2.ThumbnailStatus.items()
}
THUMBNAIL_STATUS_WORD = {number: word for word, number in THUMBNAIL_STATUS.items()}
EXCEPTION_CODE = {
    Verdict.ALREADY_DONE: queue_pb2.RESULT_CODE_ALREADY_DONE,
    Verdict.STALE: queue_pb2.RESULT_CODE_STALE,
    Verdict.NOT_FOUND: queue_pb2.RESULT_CODE_STALE,
    Verdict.NOT_PROCESSING: queue_pb2.RESULT_CODE_STALE,
}
ASSET_TYPE = "Model"


def timestamp(moment: datetime) -> Timestamp:
    """Three times as fast as FromDatetime, which works for every calendar there is."""
    return Timestamp(seconds=int(moment.timestamp()), nanos=moment.microsecond * 1000)


def timedelta_of(duration: Duration) -> timedelta:
    """The Duration, or Invalid when it is beyond what a timedelta holds."""
    try:
        return duration.ToTimedelta()
    except (ValueError, OverflowError) as error:
        raise Invalid("a duration is out of range") from error


def duration(seconds: float) -> Duration:
    """Seconds as a Duration."""
    message = Duration()
    message.FromTimedelta(timedelta(seconds=seconds))
    return message


def add_claimed(jobs: RepeatedCompositeFieldContainer[job_pb2.Job], claimed: Iterable[ClaimedJob]) -> None:
    """Append claimed jobs, with their lease tokens.

    What jobs have in common is encoded once and merged into each: a third of the time that constructing them takes.
    """
    common: dict[tuple[object, ...], bytes] = {}
    for row in claimed:
        job_id, lease_seq, model_id, model_hash = row[:4]
        encoded = common.get(row[4:])
        if encoded is None:
            encoded = common[row[4:]] = _encoded(*row[4:])
        job = jobs.add()
        job.MergeFromString(encoded)
        job.id = job_id
        job.model_id = model_id
        job.model_hash = model_hash.hex()
        job.lease_token = f"{job_id}-{lease_seq}"


def _encoded(
    attempt: int, priority: int, max_attempts: int, created_at: datetime, claimed_at: datetime, expires_at: datetime
) -> bytes:
    job = job_pb2.Job(
        status=job_pb2.JOB_STATUS_PROCESSING,
        attempt_count=attempt,
        created_at=timestamp(created_at),
        updated_at=timestamp(claimed_at),
        asset_type=ASSET_TYPE,
        priority=priority,
        max_attempts=max_attempts,
        lease_expires_at=timestamp(expires_at),
    )
    return job.SerializeToString()


def job(row: JobRecord) -> job_pb2.Job:
    """A job as anybody may see it: without the token of its lease."""
    return job_pb2.Job(
        id=row.id,
        model_id=row.model_id,
        model_hash=row.model_hash.hex(),
        status=JOB_STATUS[row.status],
        attempt_count=row.attempt_count,
        created_at=timestamp(row.created_at),
        updated_at=timestamp(row.updated_at),
        asset_type=ASSET_TYPE,
        priority=row.priority,
        max_attempts=row.max_attempts,
        lease_expires_at=_optional(row.lease_expires_at),
        run_at=_optional(row.run_at),
        worker_id=row.worker_id,
        error_message=row.error_message,
        finished_at=_optional(row.finished_at),
    )


def _optional(moment: datetime | None) -> Timestamp | None:
    return None if moment is None else timestamp(moment)


class Results(NamedTuple):
    """A message of results, sorted by verb."""

    completions: list[Completion]
    failures: list[Failure]
    releases: list[Token]
    invalid: list[queue_pb2.ResultException]


def read_results(results: Iterable[job_pb2.Result], paths: PathRule) -> Results:
    """Sort results by verb; what is malformed becomes an exception for its sender."""
    read = Results([], [], [], [])
    for result in results:
        try:
            token = parse_token(result.lease_token)
            match result.WhichOneof("outcome"):
                case "complete":
                    picture = result.complete
                    read.completions.append(
                        check_completion(
                            token,
                            picture.thumbnail_path,
                            picture.size_bytes,
                            picture.width,
                            picture.height,
                            paths,
                        )
                    )
                case "fail":
                    fail = result.fail
                    read.failures.append(
                        check_failure(
                            token,
                            fail.error_message,
                            fail.retryable if fail.HasField("retryable") else True,
                            timedelta_of(fail.retry_delay) if fail.HasField("retry_delay") else None,
                        )
                    )
                case "release":
                    read.releases.append(token)
                case _:
                    raise Invalid("a result needs complete, fail or release")
        except Invalid as error:
            read.invalid.append(
                queue_pb2.ResultException(
                    lease_token=result.lease_token, code=queue_pb2.RESULT_CODE_INVALID, message=str(error)
                )
            )
    return read


def result_exception(token: Token, verdict: Verdict) -> queue_pb2.ResultException:
    """What a worker learns of a result that was not simply taken."""
    return queue_pb2.ResultException(
        lease_token=format_token(*token),
        code=EXCEPTION_CODE[verdict],
        message=f"The result was not taken: {verdict.value}.",
    )


def cursor(epoch: str, seq: int) -> str:
    """A position in the log, as clients keep it."""
    return f"{epoch}-{seq}"


def notifications(row: CommitRecord, epoch: str) -> list[notification_pb2.Notification]:
    """The notifications of one commit."""
    created_at = timestamp(row.created_at)
    status = THUMBNAIL_STATUS[row.status]
    count = len(row.model_ids)
    error_messages: Sequence[str | None] = row.error_messages or [None] * count
    next_attempt_ats: Sequence[datetime | None] = row.next_attempt_ats or [None] * count
    ready = row.status == "Ready"
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
            next_attempt_at=_optional(next_attempt_at),
            timestamp=created_at,
            test=row.test,
        )
        for seq, model_id, job_id, attempt_count, error_message, next_attempt_at in zip(
            range(row.seq_first, row.seq_last + 1),
            row.model_ids,
            row.job_ids,
            row.attempt_counts,
            error_messages,
            next_attempt_ats,
            strict=True,
        )
    ]


def file_url(model_id: int) -> str:
    """Where the gateway serves the picture of a model (contract)."""
    return f"/models/{model_id}/thumbnail/file"


def thumbnail(row: ThumbnailRecord, cursor: str) -> job_pb2.Thumbnail:
    """What to show for a model, read when the log stood at the cursor or later."""
    has_file = row.path is not None
    return job_pb2.Thumbnail(
        model_id=row.model_id,
        status=THUMBNAIL_STATUS[row.status],
        file_url=file_url(row.model_id) if has_file else None,
        size_bytes=row.size_bytes,
        width=row.width,
        height=row.height,
        error_message=row.error_message,
        created_at=_optional(row.created_at),
        processed_at=_optional(row.processed_at),
        path=row.path,
        model_hash=row.model_hash.hex() if row.model_hash else None,
        cursor=cursor,
    )


def snapshot(queue: Snapshot) -> notification_pb2.QueueSnapshot:
    """The queue as a whole."""
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
