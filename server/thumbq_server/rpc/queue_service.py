"""QueueService: producers and workers."""

import asyncio
import contextlib
from datetime import timedelta
from typing import Any

from thumbq.v1 import job_pb2, queue_pb2, queue_pb2_grpc
from thumbq_server.domain.job import (
    ENDED,
    Completion,
    Enqueued,
    EnqueueOutcome,
    Failure,
    JobStatus,
    NewJob,
    Token,
    Verdict,
)
from thumbq_server.domain.refusals import NOT_PROCESSING, STALE_LEASE, Invalid, NotFound, WrongState
from thumbq_server.domain.requests import (
    MAX_LEASE,
    PathRule,
    check_batch,
    check_completion,
    check_failure,
    check_new_job,
    check_wait,
    check_worker_id,
    parse_token,
)
from thumbq_server.engine.hub import Hub, HubClosed, LogPruned
from thumbq_server.engine.queue import Queue
from thumbq_server.rpc import codec
from thumbq_server.rpc.errors import later, translated
from thumbq_server.rpc.stream_service import Streams
from thumbq_server.storage import notification_log
from thumbq_server.storage.postgres.database import Database
from thumbq_server.storage.reads.jobs import list_jobs, read_job

_OUTCOME = {
    EnqueueOutcome.CREATED: queue_pb2.ENQUEUE_OUTCOME_CREATED,
    EnqueueOutcome.EXISTING: queue_pb2.ENQUEUE_OUTCOME_EXISTING,
    EnqueueOutcome.RESET: queue_pb2.ENQUEUE_OUTCOME_RESET,
}
MAX_DEQUEUE = 100
MAX_PAGE = 1000
DEFAULT_PAGE = 100
_BEYOND_ALL_IDS = 2**63 - 1


class QueueService(queue_pb2_grpc.QueueServiceServicer):
    """Translates; the rules are in `domain.job`, the work in `engine.queue`."""

    def __init__(
        self,
        database: Database,
        queue: Queue,
        hub: Hub,
        streams: Streams,
        paths: PathRule,
        lease_seconds: int,
    ) -> None:
        self._database = database
        self._queue = queue
        self._hub = hub
        self._streams = streams
        self._paths = paths
        self._lease_seconds = lease_seconds

    @translated
    async def EnqueueJob(self, request: queue_pb2.EnqueueJobRequest, context: Any) -> queue_pb2.EnqueueJobResponse:
        (answer,) = await self._queue.enqueue([_new_job(request)])
        return _enqueued(answer)

    @translated
    async def EnqueueJobs(self, request: queue_pb2.EnqueueJobsRequest, context: Any) -> queue_pb2.EnqueueJobsResponse:
        check_batch(request.jobs, "jobs")
        new_jobs = []
        for index, job in enumerate(request.jobs):
            try:
                new_jobs.append(_new_job(job))
            except Invalid as error:
                raise Invalid(f"jobs[{index}]: {error}") from error
        return queue_pb2.EnqueueJobsResponse(jobs=map(_enqueued, await self._queue.enqueue(new_jobs)))

    @translated
    async def DequeueJob(self, request: queue_pb2.DequeueJobRequest, context: Any) -> queue_pb2.DequeueJobResponse:
        worker_id = check_worker_id(request.worker_id)
        claimed = await self._queue.dequeue(worker_id, 1, check_wait(codec.timedelta_of(request.wait)))
        jobs = queue_pb2.DequeueJobsResponse()
        codec.add_claimed(jobs.jobs, claimed)
        return queue_pb2.DequeueJobResponse(job=jobs.jobs[0] if claimed else None)

    @translated
    async def DequeueJobs(self, request: queue_pb2.DequeueJobsRequest, context: Any) -> queue_pb2.DequeueJobsResponse:
        worker_id = check_worker_id(request.worker_id)
        if not 0 <= request.max_jobs <= MAX_DEQUEUE:
            raise Invalid(f"maxJobs must be between 1 and {MAX_DEQUEUE}")
        wait = check_wait(codec.timedelta_of(request.wait))
        response = queue_pb2.DequeueJobsResponse()
        codec.add_claimed(response.jobs, await self._queue.dequeue(worker_id, request.max_jobs or 1, wait))
        return response

    @translated
    async def CompleteJob(self, request: queue_pb2.CompleteJobRequest, context: Any) -> queue_pb2.CompleteJobResponse:
        completion = check_completion(
            _token(request),
            request.thumbnail_path,
            request.size_bytes if request.HasField("size_bytes") else None,
            request.width if request.HasField("width") else None,
            request.height if request.HasField("height") else None,
            self._paths,
        )
        ((verdict, model_id),) = await self._queue.complete([completion])
        _expect(verdict, completion)
        return queue_pb2.CompleteJobResponse(
            model_id=model_id,
            status=job_pb2.THUMBNAIL_STATUS_READY,
            message="Thumbnail job completed successfully",
        )

    @translated
    async def FailJob(self, request: queue_pb2.FailJobRequest, context: Any) -> queue_pb2.FailJobResponse:
        failure = check_failure(
            _token(request),
            request.error_message,
            request.retryable if request.HasField("retryable") else True,
            codec.timedelta_of(request.retry_delay) if request.HasField("retry_delay") else None,
        )
        ((verdict, model_id),) = await self._queue.fail([failure])
        _expect(verdict, failure)
        return queue_pb2.FailJobResponse(
            model_id=model_id,
            status=job_pb2.THUMBNAIL_STATUS_FAILED,
            message="Thumbnail job marked as failed",
        )

    @translated
    async def ReportResults(
        self, request: queue_pb2.ReportResultsRequest, context: Any
    ) -> queue_pb2.ReportResultsResponse:
        check_batch(request.results, "results")
        return queue_pb2.ReportResultsResponse(exceptions=await self._streams.report(request.results))

    @translated
    async def ExtendLease(self, request: queue_pb2.ExtendLeaseRequest, context: Any) -> queue_pb2.ExtendLeaseResponse:
        seconds = float(self._lease_seconds)
        if request.HasField("duration"):
            duration = codec.timedelta_of(request.duration)
            if not timedelta(0) < duration <= MAX_LEASE:
                raise Invalid("duration must be more than 0 and at most 1 hour")
            seconds = duration.total_seconds()
        token = _token(request)
        ((verdict, expires_at),) = await self._queue.extend([(token, seconds)])
        _expect(verdict, token)
        assert expires_at is not None
        return queue_pb2.ExtendLeaseResponse(lease_expires_at=codec.timestamp(expires_at))

    @translated
    async def ReleaseJob(self, request: queue_pb2.ReleaseJobRequest, context: Any) -> queue_pb2.ReleaseJobResponse:
        token = _token(request)
        (verdict,) = await self._queue.release([token])
        _expect(verdict, token)
        return queue_pb2.ReleaseJobResponse()

    @translated
    async def GetJob(self, request: queue_pb2.GetJobRequest, context: Any) -> queue_pb2.GetJobResponse:
        wait = check_wait(codec.timedelta_of(request.wait))
        job = await self._job(request.job_id)
        if wait and job.status not in _ENDED:
            with contextlib.suppress(TimeoutError, HubClosed):
                await asyncio.wait_for(self._until_ended(request.job_id), wait)
            job = await self._job(request.job_id)
        return queue_pb2.GetJobResponse(job=job)

    @translated
    async def ListJobs(self, request: queue_pb2.ListJobsRequest, context: Any) -> queue_pb2.ListJobsResponse:
        if not 0 <= request.page_size <= MAX_PAGE:
            raise Invalid(f"pageSize must be between 1 and {MAX_PAGE}")
        if request.status not in codec.JOB_STATUS_WORD:
            raise Invalid("status is unknown")
        token = request.page_token
        if token and not (token.isascii() and token.isdigit() and len(token) < 19):
            raise Invalid("pageToken is malformed")
        status = JobStatus(codec.JOB_STATUS_WORD[request.status]) if request.status else None
        limit = request.page_size or DEFAULT_PAGE
        below = int(token) if token else _BEYOND_ALL_IDS
        # before the jobs: what happens in between is announced again rather than missed
        cursor = codec.cursor(*await notification_log.head(self._database))
        rows = await list_jobs(self._database, status, request.model_id, below, limit + 1)
        return queue_pb2.ListJobsResponse(
            jobs=map(codec.job, rows[:limit]),
            next_page_token=str(rows[limit - 1].id) if len(rows) > limit else "",
            cursor=cursor,
        )

    async def StreamJobs(self, request_iterator: Any, context: Any) -> None:  # type: ignore[override]
        await self._streams.serve(request_iterator, context)

    LogJobEvent = later  # type: ignore[assignment]

    async def _job(self, job_id: int) -> job_pb2.Job:
        row = await read_job(self._database, job_id)
        if row is None:
            raise NotFound(job_id)
        return codec.job(row)

    async def _until_ended(self, job_id: int) -> None:
        with self._hub.reading():
            _, seq = await notification_log.head(self._database)
            while (await self._job(job_id)).status not in _ENDED:
                told = False
                while not told:
                    try:
                        commits = await self._hub.after(seq)
                    except LogPruned:
                        _, seq = await notification_log.head(self._database)
                        break
                    seq = commits[-1].seq_last
                    told = any(job_id in commit.row.job_ids for commit in commits)


_ENDED = {codec.JOB_STATUS[word] for word in ENDED}


def _new_job(request: queue_pb2.EnqueueJobRequest | queue_pb2.NewJob) -> NewJob:
    return check_new_job(
        request.model_id,
        request.model_hash,
        request.priority,
        request.max_attempts if request.HasField("max_attempts") else None,
        request.force,
        codec.timedelta_of(request.delay) if request.HasField("delay") else timedelta(0),
    )


def _enqueued(answer: Enqueued) -> queue_pb2.EnqueueJobResponse:
    return queue_pb2.EnqueueJobResponse(job_id=answer.job_id, outcome=_OUTCOME[answer.outcome])


def _token(
    request: queue_pb2.CompleteJobRequest
    | queue_pb2.FailJobRequest
    | queue_pb2.ExtendLeaseRequest
    | queue_pb2.ReleaseJobRequest,
) -> Token:
    """The lease that a call speaks of: the named one, or whatever lease the job has."""
    if not request.lease_token:
        return Token(request.job_id, 0)
    token = parse_token(request.lease_token)
    if token.job_id != request.job_id:
        raise Invalid("leaseToken belongs to another job")
    return token


def _expect(verdict: Verdict, item: Token | Completion | Failure) -> None:
    """Raise what a unary caller learns of a refused report."""
    match verdict:
        case Verdict.NOT_FOUND:
            raise NotFound(item.job_id)
        case Verdict.NOT_PROCESSING:
            raise WrongState(NOT_PROCESSING)
        case Verdict.STALE:
            raise WrongState(STALE_LEASE)
