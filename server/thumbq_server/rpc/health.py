"""grpc.health.v1: whether the server is there, and under READY whether it can do its work."""

from collections.abc import Callable
from typing import Any

from grpc_health.v1 import health_pb2
from grpc_health.v1._async import HealthServicer

from thumbq_server.engine.readiness import STARTING

READY = "thumbq.ready"
# The trailing metadata of a check that is answered with NOT_SERVING: one sentence about what is in the way.
REASON = "thumbq-reason"
# One sentence about what may go wrong although the server serves.
WARNING = "thumbq-warning"


class Health(HealthServicer):
    """Says why, too: the answer for READY has the reason, or a warning, in its trailing metadata."""

    def __init__(self, warning: Callable[[], str | None] = lambda: None) -> None:
        super().__init__()
        self._warning = warning
        self._reason: str | None = STARTING

    async def tell(self, reason: str | None) -> None:
        """Take in what is in the way of the work; None: nothing is."""
        self._reason = reason
        status = health_pb2.HealthCheckResponse.NOT_SERVING if reason else health_pb2.HealthCheckResponse.SERVING
        await self.set(READY, status)

    async def Check(  # noqa: N802 - the name of the method in the protocol
        self, request: health_pb2.HealthCheckRequest, context: Any
    ) -> health_pb2.HealthCheckResponse:
        """Answer with the status of a service, and for READY with the reason and the warning."""
        if request.service == READY:
            told = {REASON: self._reason, WARNING: self._warning()}
            context.set_trailing_metadata([(key, sentence) for key, sentence in told.items() if sentence])
        answer: health_pb2.HealthCheckResponse = await super().Check(request, context)
        return answer
