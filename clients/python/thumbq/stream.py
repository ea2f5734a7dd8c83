"""One StreamJobs call, from Hello to its end."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from time import monotonic

import grpc

from thumbq.outbox import Outbox
from thumbq.slots import Slots
from thumbq.v1.job_pb2 import LeaseLostReason
from thumbq.v1.queue_pb2 import StreamJobsRequest, StreamJobsResponse
from thumbq.v1.queue_pb2_grpc import QueueServiceStub

_logger = logging.getLogger("thumbq")

# How long (seconds) a server gets to say Welcome; it may have to wait for its database.
_WELCOME_LIMIT = 45.0
# The server says something in each heartbeat interval; one that missed so many is dead.
_MISSED_HEARTBEATS = 3
# How long (seconds) a server that ends the stream gets to acknowledge the last results.
_LEAVING_LIMIT = 5.0
# How long (seconds) a server gets to end the stream of a worker that has drained and has nothing more to say.
_FAREWELL = 0.5
_CREDIT_LIMIT = 10_000
_LOST_REASONS: dict[int, str] = {
    LeaseLostReason.LEASE_LOST_REASON_EXPIRED: "it expired",
    LeaseLostReason.LEASE_LOST_REASON_CANCELLED: "the job was cancelled",
    LeaseLostReason.LEASE_LOST_REASON_TAKEN_OVER: "it was taken over",
}

_Call = grpc.aio.StreamStreamCall[StreamJobsRequest, StreamJobsResponse]


class ServerSilent(Exception):
    """The server said nothing for three heartbeat intervals."""


class WorkerStream:
    """Talks to one server until either side ends the stream: one task reads, one writes, one keeps time.

    The writer sends everything that is there, then looks again, so messages grow with the load by themselves.
    `wake` is set by whoever has something to say.
    """

    def __init__(
        self,
        hello: StreamJobsRequest.Hello,
        window: int,
        slots: Slots,
        outbox: Outbox,
        wake: asyncio.Event,
        on_welcome: Callable[[StreamJobsResponse.Welcome], None],
    ) -> None:
        self._hello = hello
        self._window = window
        self._slots = slots
        self._outbox = outbox
        self._wake = wake
        self._on_welcome = on_welcome
        self._welcomed = asyncio.Event()
        self._heartbeat_interval = 0.0
        self._heard_at = monotonic()
        self._credited = 0
        self._received = self._confirmed = 0
        self._heartbeat_due = False
        self._drain_due = self._drained = False
        self._leaving = self._must_leave = self._left = False
        # Seconds to wait before the next connection, when it was the server that asked to go.
        self.reconnect_after: float | None = None

    def drain(self) -> None:
        """Asks for no more jobs; the server ends the stream once all that are held are reported."""
        self._drain_due = True
        self._wake.set()

    async def run(self, channel: grpc.aio.Channel) -> None:
        """Returns when the stream ended in good order; raises AioRpcError or ServerSilent when it broke."""
        call = QueueServiceStub(channel).StreamJobs()
        reader = asyncio.create_task(self._read(call))
        writer = asyncio.create_task(self._write(call))
        clock = asyncio.create_task(self._keep_time())
        tasks = (reader, writer, clock)
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            if not clock.done():
                # A writer that ended has said its last word, or the call is over: then the reader learns why.
                await asyncio.wait((reader,), timeout=1)
            for task in tasks:
                if task.done():
                    task.result()
        finally:
            call.cancel()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _read(self, call: _Call) -> None:
        while isinstance(message := await call.read(), StreamJobsResponse):
            self._heard_at = monotonic()
            match message.WhichOneof("message"):
                case "jobs":
                    self._take_jobs(message.jobs)
                case "result_acks":
                    self._outbox.acknowledge(message.result_acks.number, message.result_acks.exceptions)
                    self._wake.set()
                case "lease_lost":
                    lost = message.lease_lost
                    self._slots.lose(lost.lease_tokens, _LOST_REASONS.get(lost.reason, "no reason given"))
                    self._wake.set()
                case "welcome":
                    self._begin(message.welcome)
                case "drain":
                    self._leave(message.drain)

    def _take_jobs(self, message: StreamJobsResponse.Jobs) -> None:
        if self._left:
            # They were never confirmed, so the server takes them back.
            return
        self._credited -= len(message.jobs)
        self._received = message.number
        self._slots.accept(message.jobs)
        self._wake.set()

    def _begin(self, welcome: StreamJobsResponse.Welcome) -> None:
        resumed = set(welcome.resumed_lease_tokens)
        self._slots.lose([token for token in self._slots.held if token not in resumed], "the connection was broken")
        for token in resumed.difference(self._slots.held, self._outbox.tokens()):
            self._outbox.release(token)
        self._heartbeat_interval = welcome.heartbeat_interval.ToMilliseconds() / 1000 or 3.0
        self._on_welcome(welcome)
        self._welcomed.set()

    def _leave(self, drain: StreamJobsResponse.Drain) -> None:
        self.reconnect_after = drain.reconnect_after.ToMilliseconds() / 1000
        self._leaving = True
        asyncio.get_running_loop().call_later(_LEAVING_LIMIT, self._leave_now)
        self._wake.set()

    def _leave_now(self) -> None:
        self._must_leave = True
        self._wake.set()

    async def _write(self, call: _Call) -> None:
        await call.write(StreamJobsRequest(hello=self._hello))
        await self._welcomed.wait()
        while True:
            self._wake.clear()
            said = False
            for message in self._due():
                await call.write(message)
                said = True
            if said:
                continue
            if self._must_leave or (self._leaving and self._outbox.empty):
                self._left = True
                await call.done_writing()
                return
            done = self._drained and self._outbox.empty and not self._slots.held
            try:
                async with asyncio.timeout(_FAREWELL if done else None):
                    await self._wake.wait()
            except TimeoutError:
                self._must_leave = True

    def _due(self) -> Iterator[StreamJobsRequest]:
        """Yields what there is to say, each message built only when the one before has gone."""
        if results := self._outbox.take():
            yield results
        free = self._window - self._slots.occupied - self._credited
        # As many results as the window may wait for their commit: the worker stays busy, but runs away from no server.
        credit = min(free, self._window + free - self._outbox.unacknowledged, _CREDIT_LIMIT)
        if credit > 0 and not (self._leaving or self._drain_due):
            self._credited += credit
            yield StreamJobsRequest(credit=StreamJobsRequest.Credit(add=credit))
        # Results confirm their jobs as well, so batches that are done already can wait for the heartbeat.
        if self._received > self._confirmed and (self._slots.held or self._heartbeat_due):
            self._confirmed = self._received
            yield StreamJobsRequest(received=StreamJobsRequest.Received(number=self._confirmed))
        if self._heartbeat_due:
            self._heartbeat_due = False
            tokens = [*self._slots.held, *self._outbox.tokens()]
            yield StreamJobsRequest(heartbeat=StreamJobsRequest.Heartbeat(lease_tokens=tokens))
        if self._drain_due and not self._drained:
            self._drained = True
            yield StreamJobsRequest(drain=StreamJobsRequest.Drain())

    async def _keep_time(self) -> None:
        try:
            async with asyncio.timeout(_WELCOME_LIMIT):
                await self._welcomed.wait()
        except TimeoutError:
            raise ServerSilent from None
        while True:
            await asyncio.sleep(self._heartbeat_interval)
            self._heartbeat_due = True
            self._wake.set()
            if self._silent():
                # A handler may have blocked the event loop; then the reader catches up meanwhile.
                await asyncio.sleep(1)
                if self._silent():
                    raise ServerSilent

    def _silent(self) -> bool:
        return monotonic() - self._heard_at > self._heartbeat_interval * _MISSED_HEARTBEATS
