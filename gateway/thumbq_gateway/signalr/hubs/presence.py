"""Tells the server which workers are connected, so that it keeps the jobs that they fetched over HTTP.

A connection belongs to one process, and a process that dies loses it. So a worker that has held its connection since it
fetched a job still has that job, however long it renders or keeps others in a queue of its own.
"""

import asyncio
import time
from typing import NoReturn

import grpc
import structlog

from thumbq.v1.queue_pb2 import KeepWorkersRequest
from thumbq.v1.queue_pb2_grpc import QueueServiceStub
from thumbq_gateway.signalr.hubs.worker_hub import Workers

_MOST = 10_000  # workers in one call
_TIMEOUT = 10.0  # seconds

log = structlog.get_logger()


class Presence:
    """Reports the registered workers of this gateway."""

    def __init__(self, channel: grpc.aio.Channel, workers: Workers, interval: float) -> None:
        """`interval` in seconds; a lease of a JSON worker must last several of them."""
        self._queue = QueueServiceStub(channel)
        self._workers = workers
        self._interval = interval

    async def run(self) -> NoReturn:
        """Report for ever."""
        while True:
            await asyncio.sleep(self._interval)
            if request := self._request():
                try:
                    await self._queue.KeepWorkers(request, timeout=_TIMEOUT)
                except grpc.aio.AioRpcError as error:
                    log.debug("hub.presence_not_told", problem=error.code().name)  # the next report says the same

    def _request(self) -> KeepWorkersRequest | None:
        now = time.monotonic()
        request = KeepWorkersRequest()
        for worker in self._workers.all()[:_MOST]:
            living = request.workers.add(worker_id=worker.id)
            living.connected_for.FromMilliseconds(int(1000 * (now - worker.since)))
        return request if request.workers else None
