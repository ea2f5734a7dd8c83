"""AdminService: the operator puts things right. What is not here yet answers UNIMPLEMENTED."""

from typing import Any

from thumbq.v1 import admin_pb2, admin_pb2_grpc
from thumbq_server.domain.refusals import ALREADY_ENDED, NOT_ENDED, Invalid, NotFound, WrongState
from thumbq_server.engine.queue import Queue
from thumbq_server.rpc import codec
from thumbq_server.rpc.errors import later, translated
from thumbq_server.rpc.stream_service import Streams
from thumbq_server.storage.postgres.database import Database, Row
from thumbq_server.storage.reads.jobs import live_jobs_of_model, read_job


class AdminService(admin_pb2_grpc.AdminServiceServicer):
    """Translates; the transitions are in `storage.interventions`."""

    def __init__(self, database: Database, queue: Queue, streams: Streams) -> None:
        self._database = database
        self._queue = queue
        self._streams = streams

    @translated
    async def CancelJob(self, request: admin_pb2.CancelJobRequest, context: Any) -> admin_pb2.CancelJobResponse:
        cancelled = await self._queue.cancel([request.job_id])
        await self._streams.cancelled(cancelled)
        row = await self._job(request.job_id)
        if not cancelled and row["status"] != "Cancelled":
            raise WrongState(ALREADY_ENDED)
        return admin_pb2.CancelJobResponse(job=codec.job(row))

    @translated
    async def CancelModelJobs(
        self, request: admin_pb2.CancelModelJobsRequest, context: Any
    ) -> admin_pb2.CancelModelJobsResponse:
        if request.model_id <= 0:
            raise Invalid("modelId must be a positive integer")
        job_ids = await live_jobs_of_model(self._database, request.model_id)
        cancelled = await self._queue.cancel(job_ids)
        await self._streams.cancelled(cancelled)
        return admin_pb2.CancelModelJobsResponse(job_ids=[job.job_id for job in cancelled])

    @translated
    async def RetryJob(self, request: admin_pb2.RetryJobRequest, context: Any) -> admin_pb2.RetryJobResponse:
        done = await self._queue.retry([request.job_id])
        row = await self._job(request.job_id)
        if not done and row["status"] != "Pending":
            raise WrongState(NOT_ENDED.format(status=row["status"]))
        return admin_pb2.RetryJobResponse(job=codec.job(row))

    GetStats = ListWorkers = PauseQueue = ResumeQueue = later  # type: ignore[assignment]
    ListDeadLetters = RedriveDeadLetters = PruneJobs = later  # type: ignore[assignment]

    async def _job(self, job_id: int) -> Row:
        row = await read_job(self._database, job_id)
        if row is None:
            raise NotFound(job_id)
        return row
