"""QueueService: producers and workers."""

from itertools import starmap
from typing import Any

from thumbq.v1 import queue_pb2, queue_pb2_grpc
from thumbq_runtime.process.pieces import pieces
from thumbq_server.access.door import ORIGIN
from thumbq_server.domain.paths import PathRule
from thumbq_server.domain.refusals import NotFound
from thumbq_server.domain.requests import (
    check_batch,
    check_lease_duration,
    check_page_size,
    check_page_token,
    check_wait,
)
from thumbq_server.engine.queue import Queue
from thumbq_server.engine.readers.join import JobEnds
from thumbq_server.engine.readers.views import Views
from thumbq_server.rpc import results
from thumbq_server.rpc.calls.single import SingleCalls, expect_ok
from thumbq_server.rpc.calls.together import Together
from thumbq_server.rpc.codec import jobs as codec
from thumbq_server.rpc.codec import new_jobs
from thumbq_server.rpc.codec.times import timedelta_of, timestamp
from thumbq_server.rpc.errors import refusals_as_status
from thumbq_server.rpc.metadata import take_traceparent
from thumbq_server.rpc.streaming.producer_stream import ProducerStreams
from thumbq_server.rpc.streaming.streams import Streams


class QueueService(queue_pb2_grpc.QueueServiceServicer):
    """Translates; the rules are in `domain`, the work is done in `engine`."""

    def __init__(
        self,
        queue: Queue,
        views: Views,
        ends: JobEnds,
        streams: Streams,
        producers: ProducerStreams,
        paths: PathRule,
    ) -> None:
        self._queue = queue
        self._views = views
        self._ends = ends
        self._streams = streams
        self._producers = producers
        self._paths = paths
        self._calls = SingleCalls(queue, paths)
        self._together = Together(self._calls)

    @refusals_as_status
    async def EnqueueJob(self, request: queue_pb2.EnqueueJobRequest, context: Any) -> queue_pb2.EnqueueJobResponse:
        take_traceparent([request], context)
        return await self._calls.enqueue_job(request)

    @refusals_as_status
    async def EnqueueJobs(self, request: queue_pb2.EnqueueJobsRequest, context: Any) -> queue_pb2.EnqueueJobsResponse:
        check_batch(request.jobs, "jobs")
        take_traceparent(request.jobs, context)
        jobs = await codec.read_new_jobs(request)
        answers = await self._queue.take_in(jobs, list(map(codec.read_version, request.jobs)))
        response = queue_pb2.EnqueueJobsResponse()
        async for piece in pieces(list(zip(answers, request.jobs, strict=True))):
            response.jobs.extend(starmap(codec.enqueued, piece))
        codec.set_pressure(response, self._queue.pressure.level)
        return response

    @refusals_as_status
    async def EnqueueColumns(
        self, request: queue_pb2.EnqueueColumnsRequest, context: Any
    ) -> queue_pb2.EnqueueColumnsResponse:
        jobs = new_jobs.read_all(request.columns)
        answers = await self._queue.take_in(jobs)
        job_ids = [answer.job_id for answer in answers]
        response = queue_pb2.EnqueueColumnsResponse(job_ids=job_ids, outcomes=new_jobs.outcomes(answers))
        codec.set_pressure(response, self._queue.pressure.level)
        return response

    async def EnqueueStream(self, request_iterator: Any, context: Any) -> None:  # type: ignore[override]
        await self._producers.serve(request_iterator, context)

    @refusals_as_status
    async def DequeueJob(self, request: queue_pb2.DequeueJobRequest, context: Any) -> queue_pb2.DequeueJobResponse:
        return await self._calls.dequeue_job(request)

    @refusals_as_status
    async def DequeueJobs(self, request: queue_pb2.DequeueJobsRequest, context: Any) -> queue_pb2.DequeueJobsResponse:
        return await self._calls.dequeue(request)

    @refusals_as_status
    async def CompleteJob(self, request: queue_pb2.CompleteJobRequest, context: Any) -> queue_pb2.CompleteJobResponse:
        return await self._calls.complete_job(request)

    @refusals_as_status
    async def FailJob(self, request: queue_pb2.FailJobRequest, context: Any) -> queue_pb2.FailJobResponse:
        return await self._calls.fail_job(request)

    @refusals_as_status
    async def CallTogether(
        self, request: queue_pb2.CallTogetherRequest, context: Any
    ) -> queue_pb2.CallTogetherResponse:
        return await self._together.answer(request)

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
        expect_ok(verdict, token)
        assert expires_at is not None
        return queue_pb2.ExtendLeaseResponse(lease_expires_at=timestamp(expires_at))

    @refusals_as_status
    async def ReportProgress(
        self, request: queue_pb2.ReportProgressRequest, context: Any
    ) -> queue_pb2.ReportProgressResponse:
        told = codec.read_progress(request, self._queue.history.epoch)
        verdict, expires_at = await self._queue.progress.report(told, self._queue.unary_lease_seconds)
        expect_ok(verdict, told.token)
        assert expires_at is not None
        return queue_pb2.ReportProgressResponse(lease_expires_at=timestamp(expires_at))

    @refusals_as_status
    async def ReleaseJob(self, request: queue_pb2.ReleaseJobRequest, context: Any) -> queue_pb2.ReleaseJobResponse:
        token = codec.read_token(request, self._queue.history.epoch)
        (verdict,) = await self._queue.release([token])
        expect_ok(verdict, token)
        return queue_pb2.ReleaseJobResponse()

    @refusals_as_status
    async def GetJob(self, request: queue_pb2.GetJobRequest, context: Any) -> queue_pb2.GetJobResponse:
        wait = check_wait(timedelta_of(request.wait))
        row = await self._ends.job(request.job_id, wait)
        response = queue_pb2.GetJobResponse(job=codec.job(row, await self._views.progress(row)))
        if version_id := (await self._queue.versions.of_jobs([row.id])).get(row.id):
            response.job.model_version_id = version_id
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
        log = self._queue.log_line_of_stranger if ORIGIN.get().stranger else self._queue.log_event
        (event_id,) = await log([codec.read_event(request)])
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
