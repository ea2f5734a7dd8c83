"""The calls of producers and workers that a message may have for itself, or share with others."""

from collections.abc import Iterable
from contextlib import suppress

from thumbq.v1 import job_pb2, queue_pb2
from thumbq_server.domain.job import Completion, Failure, Token, Verdict
from thumbq_server.domain.kinds import check_kinds
from thumbq_server.domain.paths import PathRule
from thumbq_server.domain.refusals import NOT_PROCESSING, STALE_LEASE, NotFound, StaleLease, WrongState
from thumbq_server.domain.requests import check_max_jobs, check_wait, check_worker_id, parse_token
from thumbq_server.engine.queue import Queue
from thumbq_server.rpc.codec import jobs as codec
from thumbq_server.rpc.codec.results import read_completion, read_failure
from thumbq_server.rpc.codec.times import timedelta_of
from thumbq_server.rpc.counted import counted_for


class SingleCalls:
    """Each call raises Refused or Unavailable when it is not done."""

    def __init__(self, queue: Queue, paths: PathRule) -> None:
        self._queue = queue
        self._paths = paths

    async def enqueue_job(self, request: queue_pb2.EnqueueJobRequest) -> queue_pb2.EnqueueJobResponse:
        """Enqueue one job."""
        job, version = codec.read_new_job(request), codec.read_version(request)
        (answer,) = await self._queue.take_in([job], [version])
        response = codec.enqueued(answer, request)
        codec.set_pressure(response, self._queue.pressure.level)
        return response

    async def dequeue_job(self, request: queue_pb2.DequeueJobRequest) -> queue_pb2.DequeueJobResponse:
        """Claim one job."""
        jobs = await self.dequeue(
            queue_pb2.DequeueJobsRequest(worker_id=request.worker_id, wait=request.wait, kinds=request.kinds)
        )
        return queue_pb2.DequeueJobResponse(job=jobs.jobs[0] if jobs.jobs else None)

    async def dequeue(self, request: queue_pb2.DequeueJobsRequest) -> queue_pb2.DequeueJobsResponse:
        """Claim several jobs. They are given back when their answer cannot be made."""
        worker_id = check_worker_id(request.worker_id)
        max_jobs = check_max_jobs(request.max_jobs)
        wait = check_wait(timedelta_of(request.wait))
        kinds = check_kinds(request.kinds)
        response = queue_pb2.DequeueJobsResponse()
        history = self._queue.history.version
        claimed = await self._queue.dequeue(worker_id, max_jobs, wait, kinds, counted_for())
        try:
            codec.add_claimed(response.jobs, claimed, self._queue.history.epoch)
            versions = await self._queue.versions.of_jobs([job.job_id for job in claimed])
            self._queue.history.check(history)
        except BaseException:
            self._queue.release_soon([job.token for job in claimed], history)
            raise
        for job in response.jobs if versions else ():
            if job.id in versions:
                job.model_version_id = versions[job.id]
        return response

    def give_back(self, jobs: Iterable[job_pb2.Job]) -> None:
        """Release, in the background, jobs whose answer reached no caller. Their attempts do not count."""
        history = self._queue.history.epoch
        tokens = []
        for job in jobs:
            with suppress(StaleLease):  # the database has another history by now
                tokens.append(parse_token(job.lease_token, history))
        if tokens:
            self._queue.release_soon(tokens, self._queue.history.version)

    async def complete_job(self, request: queue_pb2.CompleteJobRequest) -> queue_pb2.CompleteJobResponse:
        """End an attempt with a picture."""
        completion = read_completion(request, self._paths, self._queue.history.epoch)
        ((verdict, model_id),) = await self._queue.complete([completion])
        expect_ok(verdict, completion)
        return queue_pb2.CompleteJobResponse(
            model_id=model_id,
            status=job_pb2.THUMBNAIL_STATUS_READY,
            message="Thumbnail job completed successfully",
            model_version_id=await self._version_of(request.job_id),
        )

    async def fail_job(self, request: queue_pb2.FailJobRequest) -> queue_pb2.FailJobResponse:
        """End an attempt without a picture."""
        failure = read_failure(request, self._queue.history.epoch)
        ((verdict, model_id),) = await self._queue.fail([failure])
        expect_ok(verdict, failure)
        return queue_pb2.FailJobResponse(
            model_id=model_id,
            status=job_pb2.THUMBNAIL_STATUS_FAILED,
            message="Thumbnail job marked as failed",
            model_version_id=await self._version_of(request.job_id),
        )

    async def _version_of(self, job_id: int) -> int | None:
        return (await self._queue.versions.of_jobs([job_id])).get(job_id)


def expect_ok(verdict: Verdict, item: Token | Completion | Failure) -> None:
    """Raise what a caller learns of a refused report."""
    match verdict:
        case Verdict.NOT_FOUND:
            raise NotFound(item.job_id)
        case Verdict.NOT_PROCESSING:
            raise WrongState(NOT_PROCESSING)
        case Verdict.STALE:
            raise WrongState(STALE_LEASE)
