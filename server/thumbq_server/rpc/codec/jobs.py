"""Jobs: what producers ask for, what workers get, and what everybody may see."""

from collections.abc import Iterable
from datetime import timedelta
from itertools import repeat

from google.protobuf.internal.containers import RepeatedCompositeFieldContainer

from thumbq.v1 import job_pb2, queue_pb2
from thumbq_runtime.process.pieces import pieces
from thumbq_server.domain.columns import HASH_BYTES, Claimed
from thumbq_server.domain.job import ClaimedJob, Enqueued, EnqueueOutcome, JobStatus, NewJob, Token
from thumbq_server.domain.job_events import JobEvent, LivingWorker, NewJobEvent, check_job_event
from thumbq_server.domain.kinds import check_kind
from thumbq_server.domain.model_versions import NewVersion
from thumbq_server.domain.progress import Progress, ProgressRecord, check_progress
from thumbq_server.domain.records import JobRecord
from thumbq_server.domain.refusals import Invalid
from thumbq_server.domain.requests import check_batch, check_new_job, check_worker_id, parse_token
from thumbq_server.domain.traces import read_traceparent
from thumbq_server.rpc.codec.options import options_message, read_options
from thumbq_server.rpc.codec.times import optional_timestamp, timedelta_of, timestamp

JOB_STATUS = {status: job_pb2.JobStatus.Value(f"JOB_STATUS_{status.name}") for status in JobStatus}
_JOB_STATUS_OF = {number: status for status, number in JOB_STATUS.items()}
OUTCOME = {
    EnqueueOutcome.CREATED: queue_pb2.ENQUEUE_OUTCOME_CREATED,
    EnqueueOutcome.EXISTING: queue_pb2.ENQUEUE_OUTCOME_EXISTING,
    EnqueueOutcome.RESET: queue_pb2.ENQUEUE_OUTCOME_RESET,
}

TellsPressure = (
    queue_pb2.EnqueueJobResponse
    | queue_pb2.EnqueueJobsResponse
    | queue_pb2.EnqueueColumnsResponse
    | queue_pb2.EnqueueStreamResponse
)
NamesALease = (
    queue_pb2.CompleteJobRequest
    | queue_pb2.FailJobRequest
    | queue_pb2.ExtendLeaseRequest
    | queue_pb2.ReportProgressRequest
    | queue_pb2.ReleaseJobRequest
)


def read_new_job(request: queue_pb2.EnqueueJobRequest | queue_pb2.NewJob) -> NewJob:
    """Return what a producer asks for. Raises Invalid."""
    job = check_new_job(
        request.model_id,
        request.model_hash,
        request.priority,
        request.max_attempts if request.HasField("max_attempts") else None,
        request.force,
        timedelta_of(request.delay) if request.HasField("delay") else timedelta(0),
    )
    if request.traceparent:
        job = job._replace(traceparent=read_traceparent(request.traceparent))
    if not _names_kind_or_options(request):
        return job
    options = read_options(request.options) if request.HasField("options") else None
    return job._replace(kind=check_kind(request.kind), options=options, options_matter=request.options_matter)


def _names_kind_or_options(request: queue_pb2.EnqueueJobRequest | queue_pb2.NewJob) -> bool:
    return bool(request.kind) or request.HasField("options") or request.options_matter


def read_version(request: queue_pb2.EnqueueJobRequest | queue_pb2.NewJob) -> NewVersion | None:
    """Return the version that a producer names; the rest of the request is valid. Raises Invalid."""
    if request.model_version_id < 0:
        raise Invalid("modelVersionId must be a positive integer")
    if not request.model_version_id:
        return None
    return NewVersion(request.model_version_id, request.model_id, bytes.fromhex(request.model_hash))


async def read_new_jobs(request: queue_pb2.EnqueueJobsRequest) -> list[NewJob]:
    """Return what a producer asks for, in a batch that is not too large. Raises Invalid for the first wrong job."""
    new_jobs: list[NewJob] = []
    async for piece in pieces(request.jobs):
        for job in piece:
            try:
                new_jobs.append(read_new_job(job))
            except Invalid as error:
                raise Invalid(f"jobs[{len(new_jobs)}]: {error}") from error
    return new_jobs


def enqueued(answer: Enqueued, request: queue_pb2.EnqueueJobRequest | queue_pb2.NewJob) -> queue_pb2.EnqueueJobResponse:
    """Return the answer to a producer."""
    response = queue_pb2.EnqueueJobResponse(job_id=answer.job_id, outcome=OUTCOME[answer.outcome])
    if _names_kind_or_options(request):
        response.kinds_known = True
    return response


def set_pressure(response: TellsPressure, level: float | None) -> None:
    """Tell a producer how full the queue is, unless it has no limit."""
    if level is not None:
        response.pressure = level


def read_status(number: job_pb2.JobStatus.ValueType) -> JobStatus | None:
    """Return the status that a filter names, or None when it names none. Raises Invalid."""
    if number and number not in _JOB_STATUS_OF:
        raise Invalid("status is unknown")
    return _JOB_STATUS_OF.get(number)


def read_token(request: NamesALease, history: str) -> Token:
    """Return the lease that a unary call names, or else whatever lease the job has. Raises Invalid, StaleLease."""
    if not request.lease_token:
        return Token(request.job_id, 0)
    token = parse_token(request.lease_token, history)
    if token.job_id != request.job_id:
        raise Invalid("leaseToken belongs to another job")
    return token


def add_claimed(jobs: RepeatedCompositeFieldContainer[job_pb2.Job], claimed: Claimed, history: str) -> None:
    """Append claimed jobs, with their lease tokens in this history. Thousands a second go through here.

    What jobs have in common is encoded once and merged into each: a third of the time that constructing them takes.
    """
    common: dict[tuple[object, ...], bytes] = {}
    lease, hashes = f"{claimed.lease_seq}-{history}", claimed.model_hashes.hex()
    digits = 2 * HASH_BYTES
    pairs = zip(claimed.job_ids, claimed.model_ids, _shared(claimed), strict=False)
    for place, (job_id, model_id, shared) in enumerate(pairs):
        encoded = common.get(shared)
        if encoded is None:
            encoded = common[shared] = _encoded(claimed[place])
        job = jobs.add()
        job.MergeFromString(encoded)
        job.id = job_id
        job.model_id = model_id
        job.model_hash = hashes[place * digits : (place + 1) * digits]
        job.lease_token = f"{job_id}-{lease}"


def _shared(claimed: Claimed) -> Iterable[tuple[object, ...]]:
    """Return, for each job, the values that are encoded once for all jobs that share them; endless if all share all."""
    columns = [
        *(claimed.attempts, claimed.priorities, claimed.max_attempts),
        *(claimed.created_at, claimed.kinds, claimed.expires_at),
    ]
    if claimed.options:
        columns.append([claimed.options.get(job_id, "") for job_id in claimed.job_ids])
    if claimed.traces:
        columns.append([claimed.traces.get(job_id) for job_id in claimed.job_ids])
    if all(len(column) == 1 for column in columns):
        return repeat(())
    return zip(*(repeat(column[0]) if len(column) == 1 else column for column in columns), strict=False)


def _encoded(row: ClaimedJob) -> bytes:
    job = job_pb2.Job(
        status=job_pb2.JOB_STATUS_PROCESSING,
        attempt_count=row.attempt,
        created_at=timestamp(row.created_at),
        updated_at=timestamp(row.claimed_at),
        asset_type=row.kind,
        priority=row.priority,
        max_attempts=row.max_attempts,
        lease_expires_at=timestamp(row.expires_at),
        options=options_message(row.options) if row.options else None,
        traceparent=row.trace.traceparent if row.trace else None,
        earlier_attempt=row.trace.earlier_attempt if row.trace else None,
    )
    return job.SerializeToString()


def job(row: JobRecord, progress: ProgressRecord | None = None) -> job_pb2.Job:
    """Return a job as everybody may see it: without the token of its lease."""
    message = job_pb2.Job(
        id=row.id,
        model_id=row.model_id,
        model_hash=row.model_hash.hex(),
        status=JOB_STATUS[row.status],
        attempt_count=row.attempt_count,
        created_at=timestamp(row.created_at),
        updated_at=timestamp(row.updated_at),
        asset_type=row.kind,
        priority=row.priority,
        max_attempts=row.max_attempts,
        lease_expires_at=optional_timestamp(row.lease_expires_at),
        run_at=optional_timestamp(row.run_at),
        worker_id=row.worker_id,
        error_message=row.error_message,
        finished_at=optional_timestamp(row.finished_at),
        options=options_message(row.options) if row.options else None,
    )
    if progress:
        message.progress = progress.fraction
        message.progress_at.CopyFrom(timestamp(progress.reported_at))
        if progress.message:
            message.progress_text = progress.message
    return message


def read_progress(request: queue_pb2.ReportProgressRequest, history: str) -> Progress:
    """Return what a worker without a stream tells of its job. Raises Invalid, StaleLease."""
    if not request.HasField("progress"):
        raise Invalid("progress is required")
    return Progress(read_token(request, history), *check_progress(request.progress, request.progress_text))


def read_event(request: queue_pb2.LogJobEventRequest) -> NewJobEvent:
    """Return what a worker tells of a job. Raises Invalid."""
    return check_job_event(request.job_id, request.event_type, request.message, request.metadata, request.error_message)


def event(row: JobEvent) -> queue_pb2.JobEvent:
    """Return a line of a job's log."""
    return queue_pb2.JobEvent(
        id=row.id,
        created_at=timestamp(row.created_at),
        event_type=row.event_type,
        message=row.message,
        metadata=row.metadata,
        error_message=row.error_message,
    )


def read_living_workers(request: queue_pb2.KeepWorkersRequest) -> list[LivingWorker]:
    """Return the workers that are known to live. Raises Invalid."""
    check_batch(request.workers, "workers")
    return [
        LivingWorker.connected_for(check_worker_id(worker.worker_id), timedelta_of(worker.connected_for))
        for worker in request.workers
    ]
