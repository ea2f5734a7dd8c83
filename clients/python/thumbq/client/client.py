"""A client for asyncio."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from itertools import islice
from types import TracebackType
from typing import Self

from thumbq.client import plain
from thumbq.client.batches import JOBS_PER_CALL, Batches
from thumbq.client.calls import Calls, read_job
from thumbq.client.enqueue_stream import EnqueueStream
from thumbq.client.errors import InvalidRequest, Unsuccessful, checked
from thumbq.client.plain import Answer, JobEvent, JobInfo, JobStatusWord, Picture, Request, Seconds
from thumbq.tls import Tls
from thumbq.v1 import admin_pb2, notification_pb2, queue_pb2

THUMBNAILS_PER_CALL = 1_000


class Client:
    """Every call that an application needs.

        async with Client("localhost:50051") as client:
            answer = await client.enqueue(model_id=7, model_hash=hash_file("7.glb"))
            picture = await client.wait_for(answer.job_id, timeout=60)

    While the server is away, a call is repeated for `timeout` seconds. Every exception is a ThumbqError.
    """

    def __init__(
        self, target: str, *, timeout: Seconds = 30.0, api_key: str | None = None, tls: Tls | None = None
    ) -> None:
        self._calls = Calls(target, plain.in_seconds(timeout), api_key, tls)
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
        self,
        model_id: int,
        model_hash: str | bytes,
        *,
        priority: int = 0,
        max_attempts: int | None = None,
        delay: Seconds = 0.0,
        force: bool = False,
        model_version_id: int | None = None,
        kind: str = "Model",
        options: Mapping[str, object] | None = None,
        options_matter: bool = False,
    ) -> Answer:
        """Ask for a thumbnail; asking again for the same model and hash finds the same job. Raises InvalidJob.

        What several callers ask for at the same time is sent together, over one stream.
        Raises Unsupported when the server is too old for a kind or options.
        """
        request = Request(
            model_id=model_id,
            model_hash=model_hash,
            priority=priority,
            max_attempts=max_attempts,
            delay=delay,
            force=force,
            model_version_id=model_version_id,
            kind=kind,
            options=options,
            options_matter=options_matter,
        )
        answer = await self._stream.enqueue(request.message())
        return Answer(answer.job_id, plain.outcome(answer.outcome))

    async def enqueue_many(
        self, requests: Iterable[Request], *, progress: Callable[[int], object] | None = None
    ) -> list[Answer]:
        """Ask for any number of thumbnails, and return the answers in their order. Raises InvalidJob.

        Each 10,000 are one call, fewer where they have large options, and a malformed request refuses its whole call.
        After Unavailable the queue may have taken some of the jobs: call again. After each 10,000, `progress` gets the
        number of answers so far.
        """
        answers: list[Answer] = []
        rest = iter(requests)
        while messages := [request.message() for request in islice(rest, JOBS_PER_CALL)]:
            enqueued = await self._batches.enqueue(messages)
            answers += [Answer(job_id, plain.outcome(outcome)) for job_id, outcome in enqueued]
            if progress:
                progress(len(answers))
        return answers

    async def job(self, job_id: int, *, wait: Seconds = 0.0) -> JobInfo:
        """Read a job; with `wait`, return when the job has ended or the time is up. Raises NotFound."""
        return plain.job_info(await read_job(self._calls, job_id, plain.in_seconds(wait)))

    async def wait_for(self, job_id: int, *, timeout: Seconds = 3600.0) -> Picture:
        """Wait until a job has ended, and return the picture. Raises Unsuccessful, TimeoutError, NotFound."""
        job = await self.job(job_id, wait=timeout)
        if not job.ended:
            raise TimeoutError(f"job {job_id} is still {job.status} after {plain.in_seconds(timeout):g} s")
        if job.status != "Completed":
            raise Unsuccessful(job.error_message or f"job {job_id} is {job.status}", job_id, job.status)
        if job.model_version_id:
            return await self.version_thumbnail(job.model_version_id)
        return await self.thumbnail(job.model_id)

    async def jobs(self, *, status: JobStatusWord | None = None, model_id: int = 0) -> AsyncIterator[JobInfo]:
        """Yield jobs, newest first: all, or those with a status or of a model. They are read in pages."""
        request = checked(queue_pb2.ListJobsRequest, status=plain.job_status(status), model_id=model_id)
        while True:
            response = await self._calls.call(lambda stubs: stubs.queue.ListJobs, request)
            for job in response.jobs:
                yield plain.job_info(job)
            if not response.next_page_token:
                return
            request.page_token = response.next_page_token

    async def cancel(self, job_id: int) -> JobInfo:
        """Cancel a job that waits or is being processed. Raises NotFound, Conflict."""
        request = checked(admin_pb2.CancelJobRequest, job_id=job_id)
        return plain.job_info((await self._calls.call(lambda stubs: stubs.admin.CancelJob, request)).job)

    async def cancel_model(self, model_id: int) -> list[int]:
        """Cancel all jobs of a model, say because it was deleted, and return their ids."""
        request = checked(admin_pb2.CancelModelJobsRequest, model_id=model_id)
        return list((await self._calls.call(lambda stubs: stubs.admin.CancelModelJobs, request)).job_ids)

    async def forget(self, model_id: int) -> list[int]:
        """Delete all that is known of a model, its picture too, and return the ids of the jobs that it had."""
        request = checked(admin_pb2.ForgetThumbnailRequest, model_id=model_id)
        return list((await self._calls.call(lambda stubs: stubs.admin.ForgetThumbnail, request)).job_ids)

    async def retry(self, job_id: int) -> JobInfo:
        """Start an ended job again, or let one that waits for its next attempt run now. Raises NotFound, Conflict."""
        request = checked(admin_pb2.RetryJobRequest, job_id=job_id)
        return plain.job_info((await self._calls.call(lambda stubs: stubs.admin.RetryJob, request)).job)

    async def thumbnail(self, model_id: int) -> Picture:
        """Return what a page can show for a model now."""
        return await self._thumbnail(checked(notification_pb2.GetThumbnailRequest, model_id=model_id))

    async def version_thumbnail(self, model_version_id: int) -> Picture:
        """Return what a page can show for a version of a model now."""
        return await self._thumbnail(checked(notification_pb2.GetThumbnailRequest, model_version_id=model_version_id))

    async def thumbnails(self, model_ids: Iterable[int]) -> list[Picture]:
        """Return what a page can show for each of any number of models, in their order."""
        pictures: list[Picture] = []
        remaining = iter(model_ids)
        while some := list(islice(remaining, THUMBNAILS_PER_CALL)):
            request = checked(notification_pb2.GetThumbnailsRequest, model_ids=some)
            response = await self._calls.call(lambda stubs: stubs.notifications.GetThumbnails, request)
            pictures += (plain.picture(thumbnail, response.cursor) for thumbnail in response.thumbnails)
        return pictures

    async def create_ticket(
        self, model_ids: Iterable[int] = (), *, all_models: bool = False, life: Seconds = 600.0
    ) -> str:
        """Return a ticket with which a page reads the thumbnails of these models, or of all models, from a gateway.

        It ends after `life`, at most an hour, and with the API key of this client. Raises Conflict without a key, and
        InvalidRequest without a model.
        """
        request = checked(notification_pb2.CreateTicketRequest, model_ids=model_ids, all_models=all_models)
        if not (all_models or request.model_ids):
            # A server of an earlier version takes it for all models.
            raise InvalidRequest("modelIds must name a model, or allModels must be true")
        request.life.FromMilliseconds(round(plain.in_seconds(life) * 1000))
        return (await self._calls.call(lambda stubs: stubs.notifications.CreateTicket, request)).ticket

    async def log_event(self, job_id: int, event_type: str, message: str = "") -> None:
        """Add a line to the log of a job, as a worker may while it renders. Raises NotFound."""
        request = checked(queue_pb2.LogJobEventRequest, job_id=job_id, event_type=event_type, message=message)
        await self._calls.call(lambda stubs: stubs.queue.LogJobEvent, request)

    async def job_events(self, job_id: int) -> list[JobEvent]:
        """Return the log of a job, oldest line first."""
        request = checked(queue_pb2.ListJobEventsRequest, job_id=job_id)
        response = await self._calls.call(lambda stubs: stubs.queue.ListJobEvents, request)
        return [plain.job_event(event) for event in response.events]

    async def cursor(self) -> str:
        """Return the head of the notification log: load your state after it, then subscribe from it."""
        request = notification_pb2.GetNotificationCursorRequest()
        return (await self._calls.call(lambda stubs: stubs.notifications.GetNotificationCursor, request)).cursor

    async def announce_test(self, model_id: int, status: plain.ThumbnailStatusWord, thumbnail_url: str = "") -> None:
        """Announce a status that no worker reported, to try out a page."""
        request = checked(
            notification_pb2.PublishTestNotificationRequest,
            model_id=model_id,
            status=plain.thumbnail_status(status),
            thumbnail_url=thumbnail_url or None,
        )
        await self._calls.call(lambda stubs: stubs.notifications.PublishTestNotification, request)

    async def _thumbnail(self, request: notification_pb2.GetThumbnailRequest) -> Picture:
        response = await self._calls.call(lambda stubs: stubs.notifications.GetThumbnail, request)
        return plain.picture(response.thumbnail)
