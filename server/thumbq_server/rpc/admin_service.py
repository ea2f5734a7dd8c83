"""AdminService: the operator puts things right. What is not here yet answers UNIMPLEMENTED."""

from typing import Any

from thumbq.v1 import admin_pb2, admin_pb2_grpc
from thumbq_server.domain.job import CancelVerdict, JobStatus, RetryVerdict
from thumbq_server.domain.records import JobRecord
from thumbq_server.domain.refusals import ALREADY_ENDED, NOT_ENDED, Invalid, NotFound, WrongState
from thumbq_server.engine.queue import Queue
from thumbq_server.rpc import codec
from thumbq_server.rpc.errors import later, translated
from thumbq_server.rpc.stream_service import Streams
from thumbq_server.storage.postgres.database import Database
from thumbq_server.storage.reads.jobs import live_jobs_of_model, read_job


class AdminService(admin_pb2_grpc.AdminServiceServicer):
    """Translates; the transitions are in `storage.interventions`."""

    def __init__(self, database: Database, queue: Queue, streams: Streams) -> None:
        self._database = database
        self._queue = queue
        self._streams = streams

    @translated
    async def CancelJob(self, request: admin_pb2.CancelJobRequest, context: Any) -> admin_pb2.CancelJobResponse:
        cancellations = await self._queue.cancel([request.job_id])
        await self._streams.cancelled(cancellations)
        if cancellations[0].verdict is CancelVerdict.ALREADY_ENDED:
            raise WrongState(ALREADY_ENDED)
        return admin_pb2.CancelJobResponse(job=codec.job(await self._job(request.job_id)))

    @translated
    async def CancelModelJobs(
        self, request: admin_pb2.CancelModelJobsRequest, context: Any
    ) -> admin_pb2.CancelModelJobsResponse:
        if request.model_id <= 0:
            raise Invalid("modelId must be a positive integer")
        job_ids = await live_jobs_of_model(self._database, request.model_id)
        cancellations = await self._queue.cancel(job_ids)
        await self._streams.cancelled(cancellations)
        return admin_pb2.CancelModelJobsResponse(
            job_ids=[job.job_id for job in cancellations if job.verdict is CancelVerdict.CANCELLED]
        )

    @translated
    async def RetryJob(self, request: admin_pb2.RetryJobRequest, context: Any) -> admin_pb2.RetryJobResponse:
        ((_, verdict),) = await self._queue.retry([request.job_id])
        if verdict is RetryVerdict.PROCESSING:
            raise WrongState(NOT_ENDED.format(status=JobStatus.PROCESSING))
        return admin_pb2.RetryJobResponse(job=codec.job(await self._job(request.job_id)))

    GetStats = ListWorkers = PauseQueue = ResumeQueue = later  # type: ignore[assignment]
    ListDeadLetters = RedriveDeadLetters = PruneJobs = later  # type: ignore[assignment]

    async def _job(self, job_id: int) -> JobRecord:
        row = await read_job(self._database, job_id)
        if row is None:
            raise NotFound(job_id)
        return row
