"""Workers of Modelibr send no key with the lines that they write into the log of a job: the job vouches for them.

A line without a key is taken while the job is in work, and a minute longer: for the line that follows its end.
"""

import time

import grpc
from aiohttp import web

from thumbq.v1.job_pb2 import JobStatus
from thumbq.v1.queue_pb2 import GetJobRequest
from thumbq.v1.queue_pb2_grpc import QueueServiceStub
from thumbq_gateway.access.door import Otherwise, RouteKey
from thumbq_gateway.http.requests.path_numbers import number_in_path

_DEADLINE = 5.0  # seconds
_AFTER_END = 60.0  # seconds


class JobsInWork:
    """Looks whether a job is in work."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._queue = QueueServiceStub(channel)

    def routes(self) -> dict[RouteKey, Otherwise]:
        """Return the routes that take this in place of a key."""
        return {("POST", f"{prefix}/thumbnail-jobs/{{job_id}}/events"): self.is_in_work for prefix in ("", "/api")}

    async def is_in_work(self, request: web.Request) -> bool:
        """Return whether the job that the path names is in work, or has just ended. Raises HTTPNotFound."""
        job_id = number_in_path(request, "job_id", lowest=0)
        if not job_id:
            return False
        try:
            job = (await self._queue.GetJob(GetJobRequest(job_id=job_id), timeout=_DEADLINE)).job
        except grpc.aio.AioRpcError as error:
            if error.code() is grpc.StatusCode.NOT_FOUND:
                return False
            raise
        if job.status == JobStatus.JOB_STATUS_PROCESSING:
            return True
        return job.HasField("finished_at") and time.time() - job.finished_at.seconds < _AFTER_END
