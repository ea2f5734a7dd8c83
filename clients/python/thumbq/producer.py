"""A producer enqueues jobs and reads them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from time import monotonic
from types import TracebackType
from typing import NamedTuple, Self, TypeVar

import grpc

from thumbq.connection import Backoff, open_channel
from thumbq.v1.job_pb2 import Job, JobStatus
from thumbq.v1.queue_pb2 import (
    EnqueueJobRequest,
    EnqueueJobsRequest,
    EnqueueOutcome,
    GetJobRequest,
    ListJobsRequest,
    NewJob,
)
from thumbq.v1.queue_pb2_grpc import QueueServiceStub

JOBS_PER_CALL = 10_000
# The longest wait of one GetJob call, in seconds.
_WAIT_LIMIT = 30.0
# A stopping server cancels the calls that it has not answered.
_AWAY = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED)
_UNENDED = (JobStatus.JOB_STATUS_PENDING, JobStatus.JOB_STATUS_PROCESSING)

_Request = TypeVar("_Request")
_Response = TypeVar("_Response")


class Enqueued(NamedTuple):
    """The answer to a NewJob: the job's id, and whether it was created, existed, or was reset."""

    job_id: int
    outcome: EnqueueOutcome.ValueType


class JobNotFound(LookupError):
    """There is no job with this id, or it was pruned."""


class Producer:
    """Enqueues jobs and reads them.

        async with Producer("localhost:50051") as producer:
            job_id, outcome = await producer.enqueue_one(NewJob(model_id=7, model_hash=sha256))

    While the server is away, every call is retried for up to `timeout` seconds. After that, and for every
    other error, it raises `grpc.aio.AioRpcError`. Retries are safe, because enqueuing is idempotent.
    """

    def __init__(self, target: str, *, timeout: float = 30.0) -> None:
        self._target = target
        self._timeout = timeout

    async def __aenter__(self) -> Self:
        self._channel = open_channel(self._target)
        self._stub = QueueServiceStub(self._channel)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._channel.close()

    async def enqueue(self, jobs: Sequence[NewJob]) -> list[Enqueued]:
        """Enqueue any number of jobs, and return the answers in their order.

        Each 10,000 jobs are one call and one commit: the queue takes all of them or none.
        """
        enqueued: list[Enqueued] = []
        for start in range(0, len(jobs), JOBS_PER_CALL):
            request = EnqueueJobsRequest(jobs=jobs[start : start + JOBS_PER_CALL])
            response = await self._retry_while_away(self._stub.EnqueueJobs, request)
            enqueued += [Enqueued(job.job_id, job.outcome) for job in response.jobs]
        return enqueued

    async def enqueue_one(self, job: NewJob) -> Enqueued:
        """Enqueue one job."""
        request = EnqueueJobRequest(
            model_id=job.model_id,
            model_hash=job.model_hash,
            priority=job.priority,
            max_attempts=job.max_attempts if job.HasField("max_attempts") else None,
            force=job.force,
            delay=job.delay if job.HasField("delay") else None,
            model_version_id=job.model_version_id,
        )
        response = await self._retry_while_away(self._stub.EnqueueJob, request)
        return Enqueued(response.job_id, response.outcome)

    async def get(self, job_id: int, wait: float = 0) -> Job:
        """Return a job; with `wait` (seconds), wait until the job has ended or the time is up.

        Raises JobNotFound.
        """
        ends = monotonic() + wait
        while True:
            step = min(max(ends - monotonic(), 0.0), _WAIT_LIMIT)
            request = GetJobRequest(job_id=job_id)
            request.wait.FromMilliseconds(round(step * 1000))
            try:
                response = await self._retry_while_away(self._stub.GetJob, request, step)
            except grpc.aio.AioRpcError as error:
                if error.code() is grpc.StatusCode.NOT_FOUND:
                    raise JobNotFound(f"there is no job {job_id}") from None
                raise
            if response.job.status not in _UNENDED or monotonic() >= ends:
                return response.job

    async def jobs(
        self, *, status: JobStatus.ValueType = JobStatus.JOB_STATUS_UNSPECIFIED, model_id: int = 0
    ) -> AsyncIterator[Job]:
        """Yield jobs, newest first: all, or those with a status or of a model. They are read in pages."""
        request = ListJobsRequest(status=status, model_id=model_id)
        while True:
            response = await self._retry_while_away(self._stub.ListJobs, request)
            for job in response.jobs:
                yield job
            if not response.next_page_token:
                return
            request.page_token = response.next_page_token

    async def _retry_while_away(
        self, call: grpc.aio.UnaryUnaryMultiCallable[_Request, _Response], request: _Request, wait: float = 0
    ) -> _Response:
        """Retry a call until the server is reached; its answer may take `wait` seconds longer."""
        ends = monotonic() + self._timeout
        backoff = Backoff(limit=2.0)
        while True:
            try:
                return await call(request, timeout=max(ends - monotonic(), 0.1) + wait)
            except grpc.aio.AioRpcError as error:
                pause = backoff.pause()
                if error.code() not in _AWAY or monotonic() + pause >= ends:
                    raise
            await asyncio.sleep(pause)
