"""A producer enqueues jobs and reads them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable
from itertools import islice
from types import TracebackType
from typing import Self

from thumbq.client.batches import JOBS_PER_CALL, Batches, Enqueued
from thumbq.client.calls import Calls, read_job
from thumbq.client.enqueue_stream import EnqueueStream
from thumbq.client.errors import NotFound, checked
from thumbq.tls import Tls
from thumbq.v1.job_pb2 import Job, JobStatus
from thumbq.v1.queue_pb2 import ListJobsRequest, NewJob


class JobNotFound(NotFound):
    """There is no job with this id, or it was pruned."""


class Producer:
    """Enqueues jobs and reads them.

        async with Producer("localhost:50051") as producer:
            job_id, outcome = await producer.enqueue_one(NewJob(model_id=7, model_hash=sha256))

    While the server is away, every call is retried for up to `timeout` seconds. After that it raises Unavailable.
    Retries are safe, because enqueuing is idempotent. Every exception is a ThumbqError.
    """

    def __init__(
        self, target: str, *, timeout: float = 30.0, api_key: str | None = None, tls: Tls | None = None
    ) -> None:
        self._calls = Calls(target, timeout, api_key, tls)
        self._stream = EnqueueStream(self._calls)
        self._batches = Batches(self._calls)

    async def __aenter__(self) -> Self:
        await self._calls.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stream.close()
        await self._calls.__aexit__(kind, error, trace)

    async def enqueue(
        self, jobs: Iterable[NewJob], *, progress: Callable[[int], object] | None = None
    ) -> list[Enqueued]:
        """Enqueue any number of jobs, and return the answers in their order. Raises InvalidJob.

        Each 10,000 jobs are one call, fewer where they have large options, and a malformed job refuses its whole call.
        After Unavailable the queue may have taken some of the jobs: call again. After each 10,000, `progress` gets the
        number of answers so far.
        """
        enqueued: list[Enqueued] = []
        rest = iter(jobs)
        while messages := list(islice(rest, JOBS_PER_CALL)):
            enqueued += await self._batches.enqueue(messages)
            if progress:
                progress(len(enqueued))
        return enqueued

    async def enqueue_one(self, job: NewJob) -> Enqueued:
        """Enqueue one job. Those of calls that come together are sent together, over one stream. Raises InvalidJob."""
        return await self._stream.enqueue(job)

    async def get(self, job_id: int, wait: float = 0) -> Job:
        """Return a job; with `wait` (seconds), wait until the job has ended or the time is up.

        Raises JobNotFound.
        """
        try:
            return await read_job(self._calls, job_id, wait)
        except NotFound:
            raise JobNotFound(f"there is no job {job_id}") from None

    async def jobs(
        self, *, status: JobStatus.ValueType = JobStatus.JOB_STATUS_UNSPECIFIED, model_id: int = 0
    ) -> AsyncIterator[Job]:
        """Yield jobs, newest first: all, or those with a status or of a model. They are read in pages."""
        request = checked(ListJobsRequest, status=status, model_id=model_id)
        while True:
            response = await self._calls.call(lambda stubs: stubs.queue.ListJobs, request)
            for job in response.jobs:
                yield job
            if not response.next_page_token:
                return
            request.page_token = response.next_page_token
