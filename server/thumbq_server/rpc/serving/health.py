"""grpc.health.v1: whether the server is there, and under READY whether it can do its work."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from thumbq_server.engine.upkeep.readiness import STARTING

READY = "thumbq.ready"
# The trailing metadata of a check that is answered with NOT_SERVING: one sentence about what is in the way.
REASON = "thumbq-reason"
# One sentence about what may go wrong although the server serves.
WARNING = "thumbq-warning"

Answer = health_pb2.HealthCheckResponse


class Health(health_pb2_grpc.HealthServicer):
    """Says why, too: the answer for READY has the reason, or a warning, in its trailing metadata.

    A status is set at once, whoever watches: watchers are woken, and each is written to by its own call.
    """

    def __init__(self, warning: Callable[[], str | None] = lambda: None) -> None:
        self._warning = warning
        self._reason: str | None = STARTING
        self._statuses: dict[str, int] = {}
        self._is_ending = False
        # Set when a status changes, and replaced by another one for the next change.
        self._changed = asyncio.Event()

    def serve(self, services: Iterable[str]) -> None:
        """Say of these services that they serve."""
        self._set(services, Answer.SERVING)

    def tell(self, reason: str | None) -> None:
        """Take in what is in the way of the work; None: nothing is."""
        self._reason = reason
        self._set([READY], Answer.NOT_SERVING if reason else Answer.SERVING)

    def end(self) -> None:
        """Say from now on that nothing serves."""
        self._set([*self._statuses], Answer.NOT_SERVING)
        self._is_ending = True

    def _set(self, services: Iterable[str], status: int) -> None:
        changes = {service: status for service in services if self._statuses.get(service) != status}
        if changes and not self._is_ending:
            self._statuses |= changes
            changed, self._changed = self._changed, asyncio.Event()
            changed.set()

    async def Check(  # noqa: N802 - the name of the method in the protocol
        self, request: health_pb2.HealthCheckRequest, context: Any
    ) -> Answer:
        """Answer with the status of a service, and for READY with the reason and the warning."""
        if request.service == READY:
            told = {REASON: self._reason, WARNING: self._warning()}
            context.set_trailing_metadata([(key, sentence) for key, sentence in told.items() if sentence])
        if request.service not in self._statuses:
            await context.abort(grpc.StatusCode.NOT_FOUND)
        return Answer(status=self._statuses[request.service])

    async def Watch(  # noqa: N802 - as above
        self,
        request: health_pb2.HealthCheckRequest,
        context: Any,  # noqa: ARG002 - grpc gives it
    ) -> AsyncIterator[Answer]:
        """Tell the status of a service, and each change that the watcher is there for.

        The stream for an unknown service stays open, as the protocol asks. All names are short.
        """
        told = None
        while True:
            changed = self._changed
            status = self._statuses.get(request.service, Answer.SERVICE_UNKNOWN)
            if status != told:
                told = status
                yield Answer(status=status)
            await changed.wait()
