"""Sends remarks about jobs to the queue: a texture that is missing, a face that was left out."""

import logging
from collections.abc import Iterable

import grpc

from thumbq.connection import UnreadableKey, describe, open_channel
from thumbq.log_events import event
from thumbq.tls import UnusableCertificate
from thumbq.v1.queue_pb2 import LogJobEventRequest
from thumbq.v1.queue_pb2_grpc import QueueServiceStub

SECONDS = 5.0
REMARK = "Remark"
_logger = logging.getLogger("thumbq.render")


class JobEvents:
    """A server that does not keep events ignores them."""

    def __init__(self, target: str) -> None:
        self._target = target

    async def remark(self, job_id: int, messages: Iterable[str]) -> None:
        """Send sentences about a job, until one does not arrive."""
        try:
            # A connection for each job shows the key and the certificate that the files hold now.
            async with open_channel(self._target) as channel:
                stub = QueueServiceStub(channel)
                for message in messages:
                    request = LogJobEventRequest(job_id=job_id, event_type=REMARK, message=message)
                    await stub.LogJobEvent(request, timeout=SECONDS)
        except (UnreadableKey, UnusableCertificate) as problem:
            _warn(job_id, str(problem))
        except grpc.aio.AioRpcError as error:
            if error.code() is not grpc.StatusCode.UNIMPLEMENTED:
                _warn(job_id, describe(error, self._target))


def _warn(job_id: int, reason: str) -> None:
    _logger.warning(
        "Job %d: its events could not be sent (%s)",
        job_id,
        reason,
        extra=event("job.events_not_sent", job_id=job_id),
    )
