"""QueueService: producers and workers."""

from collections.abc import Sequence
from typing import Any

from thumbq.v1 import job_pb2, queue_pb2, queue_pb2_grpc
from thumbq_server.domain.job import Completion, Enqueued, Failure, NewJob, Token, Verdict
from thumbq_server.domain.model_versions import NewVersion
from thumbq_server.domain.refusals import NOT_PROCESSING, STALE_LEASE, NotFound, WrongState
from thumbq_server.domain.requests import (
    PathRule,
    check_batch,
    check_lease_duration,
    check_max_jobs,
    check_page_size,
    check_page_token,
    check_wait,
    check_worker_id,
)
from thumbq_server.engine.queue import Queue
from thumbq_server.engine.readers.hub import Hub
from thumbq_server.engine.readers.join import job_when_ended
from thumbq_server.engine.readers.views import Views
from thumbq_server.rpc import results
from thumbq_server.rpc.codec import jobs as codec
from thumbq_server.rpc.codec.results import read_completion, read_failure
from thumbq_server.rpc.codec.times import timedelta_of, timestamp
from thumbq_server.rpc.errors import refusals_as_status
from thumbq_server.rpc.streaming.streams import Streams


class QueueService(queue_pb2_grpc.QueueServiceServicer):
    """Translates; the rules are in `domain`, the work is done in `engine`."""

    def __init__(
        self,
        queue: Queue,
        views: Views,
        hub: Hub,
        streams: Streams,
        paths: PathRule,
    ) -> None:
        self._queue = queue
        self._views = views
        self._hub = hub
        self._streams = streams
        self._paths = paths

    @refusals_as_status
    async def EnqueueJob(self, request: queue_pb2.EnqueueJobRequest, context: Any) -> queue_pb2.EnqueueJobResponse:
        (answer,) = await self._enqueue([codec.read_new_job(request)], [codec.read_version(request)])
        return codec.enqueued(answer)

    @refusals_as_status
    async def EnqueueJobs(self, request: queue_pb2.EnqueueJobsRequest, context: Any) -> queue_pb2.EnqueueJobsResponse:
        answers = await self._enqueue(await codec.read_new_jobs(request), list(map(codec.read_version, request.jobs)))
        return queue_pb2.EnqueueJobsResponse(jobs=map(codec.enqueued, answers))

    @refusals_as_status
    async def DequeueJob(self, request: queue_pb2.DequeueJobRequest, context: Any) -> queue_pb2.DequeueJobResponse:
        worker_id = check_worker_id(request.worker_id)
        claimed = await self._queue.dequeue(worker_id, 1, check_wait(timedelta_of(request.wait)))
        jobs = queue_pb2.DequeueJobsResponse()
        codec.add_claimed(jobs.jobs, claimed, self._queue.history.epoch)
        await self._name_versions(jobs.jobs)
        return queue_pb2.DequeueJobResponse(job=jobs.jobs[0] if claimed else None)

    @refusals_as_status
    async def DequeueJobs(self, request: queue_pb2.DequeueJobsRequest, context: Any) -> queue_pb2.DequeueJobsResponse:
        worker_id = check_worker_id(request.worker_id)
        max_jobs = check_max_jobs(request.max_jobs)
        wait = check_wait(timedelta_of(request.wait))
        response = queue_pb2.DequeueJobsResponse()
        claimed = await self._queue.dequeue(worker_id, max_jobs, wait)
        codec.add_claimed(response.jobs, claimed, self._queue.history.epoch)
        await self._name_versions(response.jobs)
        return response

    @refusals_as_status
    async def CompleteJob(self, request: queue_pb2.CompleteJobRequest, context: Any) -> queue_pb2.CompleteJobResponse:
        completion = read_completion(request, self._paths, self._queue.history.epoch)
        ((verdict, model_id),) = await self._queue.complete([completion])
        _expect_ok(verdict, completion)
        return queue_pb2.CompleteJobResponse(
            model_id=model_id,
            status=job_pb2.THUMBNAIL_STATUS_READY,
            message="Thumbnail job completed successfully",
            model_version_id=await self._version_of(request.job_id),
        )

    @refusals_as_status
    async def FailJob(self, request: queue_pb2.FailJobRequest, context: Any) -> queue_pb2.FailJobResponse:
        failure = read_failure(request, self._queue.history.epoch)
        ((verdict, model_id),) = await self._queue.fail([failure])
        _expect_ok(verdict, failure)
        return queue_pb2.FailJobResponse(
            model_id=model_id,
            status=job_pb2.THUMBNAIL_STATUS_FAILED,
            message="Thumbnail job marked as failed",
            model_version_id=await self._version_of(request.job_id),
        )

    @refusals_as_status
    async def ReportResults(
        self, request: queue_pb2.ReportResultsRequest, context: Any
    ) -> queue_pb2.ReportResultsResponse:
        check_batch(request.results, "results")
        exceptions = await results.take(request.results, self._paths, self._queue.history.epoch, self._queue.report)
        return queue_pb2.ReportResultsResponse(exceptions=exceptions)

    @refusals_as_status
    async def ExtendLease(self, request: queue_pb2.ExtendLeaseRequest, context: Any) -> queue_pb2.ExtendLeaseResponse:
        seconds = float(self._queue.unary_lease_seconds)
        if request.HasField("duration"):
            seconds = check_lease_duration(timedelta_of(request.duration))
        token = codec.read_token(request, self._queue.history.epoch)
        ((verdict, expires_at),) = await self._queue.extend([(token, seconds)])
        _expect_ok(verdict, token)
        assert expires_at is not None
        return queue_pb2.ExtendLeaseResponse(lease_expires_at=timestamp(expires_at))

    @refusals_as_status
    async def ReleaseJob(self, request: queue_pb2.ReleaseJobRequest, context: Any) -> queue_pb2.ReleaseJobResponse:
        token = codec.read_token(request, self._queue.history.epoch)
        (verdict,) = await self._queue.release([token])
        _expect_ok(verdict, token)
        return queue_pb2.ReleaseJobResponse()

    @refusals_as_status
    async def GetJob(self, request: queue_pb2.GetJobRequest, context: Any) -> queue_pb2.GetJobResponse:
        wait = check_wait(timedelta_of(request.wait))
        row = await job_when_ended(self._views, self._hub, request.job_id, wait)
        response = queue_pb2.GetJobResponse(job=codec.job(row))
        await self._name_versions([response.job])
        return response

    @refusals_as_status
    async def ListJobs(self, request: queue_pb2.ListJobsRequest, context: Any) -> queue_pb2.ListJobsResponse:
        limit = check_page_size(request.page_size)
        status = codec.read_status(request.status)
        below = check_page_token(request.page_token)
        page = await self._views.jobs(status, request.model_id, below, limit)
        return queue_pb2.ListJobsResponse(
            jobs=map(codec.job, page.jobs),
            next_page_token="" if page.next_below is None else str(page.next_below),
            cursor=str(page.cursor),
        )

    async def StreamJobs(self, request_iterator: Any, context: Any) -> None:  # type: ignore[override]
        await self._streams.serve(request_iterator, context)

    @refusals_as_status
    async def LogJobEvent(self, request: queue_pb2.LogJobEventRequest, context: Any) -> queue_pb2.LogJobEventResponse:
        (event_id,) = await self._queue.log_event([codec.read_event(request)])
        if event_id is None:
            raise NotFound(request.job_id)
        return queue_pb2.LogJobEventResponse(event_id=event_id)

    @refusals_as_status
    async def ListJobEvents(
        self, request: queue_pb2.ListJobEventsRequest, context: Any
    ) -> queue_pb2.ListJobEventsResponse:
        events = await self._views.job_events(request.job_id)
        return queue_pb2.ListJobEventsResponse(events=map(codec.event, events))

    @refusals_as_status
    async def KeepWorkers(self, request: queue_pb2.KeepWorkersRequest, context: Any) -> queue_pb2.KeepWorkersResponse:
        await self._queue.keep(codec.read_living_workers(request))
        return queue_pb2.KeepWorkersResponse()

    async def _enqueue(self, jobs: Sequence[NewJob], versions: Sequence[NewVersion | None]) -> Sequence[Enqueued]:
        await self._queue.versions.write(versions)
        return await self._queue.enqueue(jobs)

    async def _version_of(self, job_id: int) -> int | None:
        return (await self._queue.versions.of_jobs([job_id])).get(job_id)

    async def _name_versions(self, jobs: Sequence[job_pb2.Job]) -> None:
        versions = await self._queue.versions.of_jobs([job.id for job in jobs])
        for job in jobs if versions else ():
            if job.id in versions:
                job.model_version_id = versions[job.id]


def _expect_ok(verdict: Verdict, item: Token | Completion | Failure) -> None:
    """Raise what a unary caller learns of a refused report."""
    match verdict:
        case Verdict.NOT_FOUND:
            raise NotFound(item.job_id)
        case Verdict.NOT_PROCESSING:
            raise WrongState(NOT_PROCESSING)
        case Verdict.STALE:
            raise WrongState(STALE_LEASE)
