"""Sends remarks about jobs to the queue: a texture that is missing, a face that was left out."""

import logging
from collections.abc import Iterable
from types import TracebackType
from typing import Self

import grpc

from thumbq.connection import describe, open_channel
from thumbq.log_events import event
from thumbq.v1.queue_pb2 import LogJobEventRequest
from thumbq.v1.queue_pb2_grpc import QueueServiceStub

SECONDS = 5.0
REMARK = "Remark"
_logger = logging.getLogger("thumbq.render")


class JobEvents:
    """A connection for remarks. A server that does not keep events ignores them."""

    def __init__(self, target: str) -> None:
        self._target = target
        self._channel = open_channel(target)
        self._stub = QueueServiceStub(self._channel)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._channel.close()

    async def remark(self, job_id: int, messages: Iterable[str]) -> None:
        """Send sentences about a job, until one does not arrive."""
        try:
            for message in messages:
                request = LogJobEventRequest(job_id=job_id, event_type=REMARK, message=message)
                await self._stub.LogJobEvent(request, timeout=SECONDS)
        except grpc.aio.AioRpcError as error:
            if error.code() is not grpc.StatusCode.UNIMPLEMENTED:
                _logger.warning(
                    "Job %d: its events could not be sent (%s)",
                    job_id,
                    describe(error, self._target),
                    extra=event("job.events_not_sent", job_id=job_id),
                )
