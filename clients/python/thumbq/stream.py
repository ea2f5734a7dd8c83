"""One StreamJobs call, from Hello to its end."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Iterator
from enum import IntEnum, auto
from time import monotonic

import grpc

from thumbq.outbox import Outbox
from thumbq.v1.job_pb2 import LeaseLostReason
from thumbq.v1.queue_pb2 import StreamJobsRequest, StreamJobsResponse
from thumbq.v1.queue_pb2_grpc import QueueServiceStub
from thumbq.working.column_jobs import from_columns
from thumbq.working.confirmations import Confirmations
from thumbq.working.ledger import Ledger
from thumbq.working.progress import ProgressOutbox

_logger = logging.getLogger("thumbq")

# Seconds in which a server must send Welcome; it may have to wait for its database.
_WELCOME_LIMIT = 45.0
# The server sends something in each heartbeat interval; after this number of silent intervals it is dead.
_MISSED_HEARTBEATS = 3
# Seconds that a server that asked to reconnect gets to acknowledge the last results.
_LEAVING_LIMIT = 5.0
# Seconds that a server gets to end the stream of a worker that has drained and has nothing more to send.
_FAREWELL = 0.5
_CREDIT_LIMIT = 10_000
# Lease tokens that a server takes in one heartbeat.
_TOKENS_PER_MESSAGE = 10_000
# Results whose acknowledgements a server may hold back for the next jobs.
_HELD_BACK = 4
_LOST_REASONS: dict[int, str] = {
    LeaseLostReason.LEASE_LOST_REASON_EXPIRED: "it expired",
    LeaseLostReason.LEASE_LOST_REASON_CANCELLED: "the job was cancelled",
    LeaseLostReason.LEASE_LOST_REASON_TAKEN_OVER: "it was taken over",
}

_Call = grpc.aio.StreamStreamCall[StreamJobsRequest, StreamJobsResponse]


class ServerSilent(Exception):
    """The server sent nothing for three heartbeat intervals."""

    def __str__(self) -> str:
        return "it says nothing"


class ServerTooOld(Exception):
    """The server does not know what the worker cannot do without."""


class Phase(IntEnum):
    """The phase of a stream; the stream goes from one to a later one, never back.

    | phase    | the worker                           | next, and when                                          |
    |----------|--------------------------------------|---------------------------------------------------------|
    | OPEN     | gives credit and takes jobs          | DRAINING: the worker stops; LEAVING: the server's Drain |
    | DRAINING | gives no more credit                 | LEAVING: the server's Drain; CLOSING: nothing was left  |
    |          |                                      | to send for half a second                               |
    | LEAVING  | waits for its results' acks          | CLOSED: all have come; CLOSING: five seconds are over   |
    | CLOSING  | waits for nothing any more           | CLOSED: the writer sees it                              |
    | CLOSED   | has ended its side, takes no jobs    |                                                         |

    A server may end the stream in any phase.
    """

    OPEN = auto()
    DRAINING = auto()
    LEAVING = auto()
    CLOSING = auto()
    CLOSED = auto()


class WorkerStream:
    """One stream to one server: one task reads, one writes, one keeps time.

    The writer sends everything that is due and then looks again, so messages grow with the load by themselves.
    Whoever makes something due sets `wake`.
    """

    def __init__(
        self,
        hello: StreamJobsRequest.Hello,
        window: int,
        slots: Ledger,
        outbox: Outbox,
        progress: ProgressOutbox,
        wake: asyncio.Event,
        on_welcome: Callable[[StreamJobsResponse.Welcome], None],
    ) -> None:
        self._hello = hello
        self._window = window
        self._slots = slots
        self._outbox = outbox
        self._progress = progress
        self._wake = wake
        self._on_welcome = on_welcome
        self._welcomed = asyncio.Event()
        self._heartbeat_interval = 0.0
        self._heard_at = monotonic()
        # Whether the server knows columns, progress, and credit in results.
        self._columns = self._takes_progress = self._takes_credit = False
        self._credited = 0
        self._received = self._confirmed = 0
        self._confirmations = Confirmations(slots, self._confirm)
        # Messages for the writer to send.
        self._heartbeat_due = self._drain_due = self._confirmation_due = False
        self._phase = Phase.OPEN
        # Seconds to wait before the next connection, if the server asked to reconnect.
        self.reconnect_after: float | None = None

    def drain(self) -> None:
        """Ask for no more jobs; the server ends the stream once all held jobs are reported."""
        if self._phase is Phase.OPEN:
            self._drain_due = True
        self._advance(Phase.DRAINING)

    async def run(self, channel: grpc.aio.Channel) -> None:
        """Return when the stream has ended in order. Raises AioRpcError or ServerSilent when it breaks."""
        call = QueueServiceStub(channel).StreamJobs()
        reader = asyncio.create_task(self._read(call))
        writer = asyncio.create_task(self._write(call))
        clock = asyncio.create_task(self._keep_time())
        tasks = (reader, writer, clock)
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            if not clock.done():
                # The writer ends after its last message, or with the call. The reader then learns why.
                await asyncio.wait((reader,), timeout=1)
            for task in tasks:
                if task.done():
                    task.result()
        finally:
            call.cancel()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await call.code()  # gRPC has nothing more for this loop then, which may be closed soon

    def _advance(self, phase: Phase) -> None:
        self._phase = max(self._phase, phase)
        self._wake.set()

    async def _read(self, call: _Call) -> None:
        while isinstance(message := await call.read(), StreamJobsResponse):
            self._heard_at = monotonic()
            match message.WhichOneof("message"):
                case "jobs":
                    self._take_jobs(message.jobs)
                case "result_acks":
                    acks = message.result_acks
                    self._outbox.acknowledge(acks.number, acks.exceptions)
                    self._acknowledge(acks.also)
                case "lease_lost":
                    lost = message.lease_lost
                    self._slots.lose(lost.lease_tokens, _LOST_REASONS.get(lost.reason, "no reason given"))
                    self._wake.set()
                case "welcome":
                    self._begin(message.welcome)
                case "drain":
                    self._leave(message.drain)

    def _acknowledge(self, numbers: Iterable[int]) -> None:
        for number in numbers:
            self._outbox.acknowledge(number, ())
        self._wake.set()

    def _take_jobs(self, message: StreamJobsResponse.Jobs) -> None:
        if message.acknowledged:
            self._acknowledge(message.acknowledged)
        if self._phase is Phase.CLOSED:
            # The worker has not confirmed them, so the server takes them back.
            return
        jobs = from_columns(message.columns) if message.HasField("columns") else message.jobs
        self._credited -= len(jobs)
        self._received = message.number
        self._slots.accept(jobs)
        self._confirmations.received(jobs)

    def _confirm(self) -> None:
        self._confirmation_due = True
        self._wake.set()

    def _begin(self, welcome: StreamJobsResponse.Welcome) -> None:
        if self._hello.kinds and not welcome.kinds:
            named = ", ".join(self._hello.kinds)
            raise ServerTooOld(f"the server does not know kinds of jobs, and cannot send {named} alone: upgrade it")
        resumed = set(welcome.resumed_lease_tokens)
        self._slots.lose([token for token in self._slots.held if token not in resumed], "the connection was broken")
        for token in resumed.difference(self._slots.held, self._outbox.tokens()):
            self._outbox.release(token)
        self._columns = welcome.columns
        self._takes_progress = welcome.progress
        self._takes_credit = welcome.results_with_credit
        self._heartbeat_interval = welcome.heartbeat_interval.ToMilliseconds() / 1000 or 3.0
        self._on_welcome(welcome)
        self._welcomed.set()

    def _leave(self, drain: StreamJobsResponse.Drain) -> None:
        self.reconnect_after = drain.reconnect_after.ToMilliseconds() / 1000
        self._advance(Phase.LEAVING)
        asyncio.get_running_loop().call_later(_LEAVING_LIMIT, self._advance, Phase.CLOSING)

    async def _write(self, call: _Call) -> None:
        await call.write(StreamJobsRequest(hello=self._hello))
        await self._welcomed.wait()
        while True:
            self._wake.clear()
            sent = False
            for message in self._due():
                await call.write(message)
                sent = True
            if sent:
                continue
            if self._phase is Phase.CLOSING or (self._phase is Phase.LEAVING and self._outbox.empty):
                self._advance(Phase.CLOSED)
                await call.done_writing()
                return
            if self._phase is not Phase.DRAINING or self._slots.held or not self._outbox.empty:
                await self._wake.wait()
                continue
            try:
                async with asyncio.timeout(_FAREWELL):
                    await self._wake.wait()
            except TimeoutError:
                self._advance(Phase.CLOSING)

    def _due(self) -> Iterator[StreamJobsRequest]:
        """Yield the messages that are due, each built only after the one before it was sent."""
        results = self._outbox.take(columns=self._columns)
        if results and self._takes_credit:
            results.results.credit = self._free_credit()
        if results:
            yield results
        if credit := self._free_credit():
            yield StreamJobsRequest(credit=StreamJobsRequest.Credit(add=credit))
        # A server that stops takes back what is not confirmed, although the worker goes on with it.
        is_leaving = self._phase >= Phase.LEAVING
        if self._received > self._confirmed and (self._confirmation_due or self._heartbeat_due or is_leaving):
            self._confirmation_due = False
            self._confirmed = self._received
            yield StreamJobsRequest(received=StreamJobsRequest.Received(number=self._confirmed))
        if self._heartbeat_due:
            self._heartbeat_due = False
            tokens = [*self._slots.held, *self._outbox.tokens()]
            # Without tokens it is a sign of life.
            for first in range(0, len(tokens) or 1, _TOKENS_PER_MESSAGE):
                some = tokens[first : first + _TOKENS_PER_MESSAGE]
                yield StreamJobsRequest(heartbeat=StreamJobsRequest.Heartbeat(lease_tokens=some))
        # A server that does not know progress is not sent it.
        if self._progress.due and (progress := self._progress.take(self._slots.held)) and self._takes_progress:
            yield progress
        if self._drain_due:
            self._drain_due = False
            yield StreamJobsRequest(drain=StreamJobsRequest.Drain())

    def _free_credit(self) -> int:
        """Return the credit that is to be given now, and count it as given."""
        free = self._window - self._slots.occupied - self._credited
        # At most a window of results may wait for their commit: the worker stays busy, but does not outrun the server.
        uncommitted = self._outbox.unacknowledged - _HELD_BACK
        credit = max(0, min(free, self._window + free - uncommitted, _CREDIT_LIMIT))
        if self._phase is not Phase.OPEN:
            return 0
        self._credited += credit
        return credit

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
            if self._server_is_silent():
                # The process may have been stopped for a while; give the reader time to catch up.
                await asyncio.sleep(1)
                if self._server_is_silent():
                    raise ServerSilent

    def _server_is_silent(self) -> bool:
        return monotonic() - self._heard_at > self._heartbeat_interval * _MISSED_HEARTBEATS
