"""One worker's stream: its loop reads; what is to be said goes out in the order in which it was said."""

import asyncio
import contextlib
import random
import uuid
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import grpc
import structlog

from thumbq.v1 import job_pb2, queue_pb2
from thumbq_server.domain.job import ClaimedJob, LostReason, Token, Verdict, format_token
from thumbq_server.domain.refusals import Invalid
from thumbq_server.domain.requests import check_worker_id, parse_token
from thumbq_server.engine.dispatcher import Claimant
from thumbq_server.engine.queue import Queue
from thumbq_server.rpc import codec
from thumbq_server.rpc.errors import complain
from thumbq_server.storage import workers
from thumbq_server.storage.postgres.database import Database
from thumbq_server.storage.postgres.errors import Unavailable
from thumbq_server.storage.reads.leases import held_leases, why_lost

log = structlog.get_logger()
Message = queue_pb2.StreamJobsResponse

MAX_CREDITS = 100_000
MAX_ADD = 10_000
MAX_SESSION_ID = 100
MISSED_HEARTBEATS = 3
_AWAY_RETRY_SECONDS = 0.5
_LOOK_AGAIN_SECONDS = 0.25
_CLOSE_SECONDS = 2.0
_LOST_REASON = {
    LostReason.EXPIRED: job_pb2.LEASE_LOST_REASON_EXPIRED,
    LostReason.CANCELLED: job_pb2.LEASE_LOST_REASON_CANCELLED,
    LostReason.TAKEN_OVER: job_pb2.LEASE_LOST_REASON_TAKEN_OVER,
}


@dataclass(frozen=True, slots=True)
class StreamTimes:
    """Seconds. A delivered job has `delivery_lease`; a heartbeat makes that `lease`."""

    delivery_lease: int = 10
    lease: int = 30
    heartbeat: float = 3.0
    # A stream is asked to go after about so long, so that load spreads over servers; it has `leave` to do so.
    max_age: float = 3600.0
    leave: float = 60.0


Report = Callable[[Iterable[job_pb2.Result]], Awaitable[list[queue_pb2.ResultException]]]


class Stream:
    """From Hello to its end. `report` commits results and returns what was not simply taken."""

    def __init__(self, database: Database, queue: Queue, report: Report, times: StreamTimes, context: Any) -> None:
        self._database = database
        self._queue = queue
        self._commit = report
        self._times = times
        self._context = context
        self._outbox: deque[Message] = deque()
        self._writer: asyncio.Task[None] | None = None
        self._reports: set[asyncio.Task[None]] = set()
        self._jobs_sent = 0
        # Jobs messages whose arrival is not confirmed, by number.
        self._unconfirmed: dict[int, Sequence[ClaimedJob]] = {}
        # Of those, the tokens that a heartbeat named all the same.
        self._named: set[Token] = set()
        self._finisher: asyncio.Task[None] | None = None
        self._reported = asyncio.Event()
        self._claimant: Claimant
        self._finish = asyncio.Event()
        self._closing: str | None = None
        self._said = False
        # Tells this stream from every other, of this server and the next.
        self.id = uuid.uuid4().hex
        self.ended = asyncio.Event()
        self.worker_id = self._session_id = ""

    async def read_hello(self, requests: AsyncIterator[queue_pb2.StreamJobsRequest]) -> int:
        """The number of the session that the worker's first message speaks for. Raises Invalid, Unavailable."""
        try:
            async with asyncio.timeout(self._times.heartbeat * MISSED_HEARTBEATS):
                first = await anext(requests)
        except (StopAsyncIteration, TimeoutError):
            raise Invalid("the stream must begin with Hello") from None
        if first.WhichOneof("message") != "hello":
            raise Invalid("the stream must begin with Hello")
        hello = first.hello
        self.worker_id = check_worker_id(hello.worker_id)
        self._session_id = hello.session_id or uuid.uuid4().hex
        if len(self._session_id) > MAX_SESSION_ID or not self._session_id.isprintable():
            raise Invalid("sessionId is malformed")
        worker = await workers.register(self._database, self.worker_id, self._session_id, hello.version, hello.labels)
        self._claimant = Claimant(worker, self._times.delivery_lease, self._deliver)
        return worker

    async def welcome(self) -> None:
        """Tell the worker its session, the times it has to keep, and what it still holds. Raises Unavailable."""
        resumed = await held_leases(self._database, self._claimant.worker)
        self._say(
            Message(
                welcome=Message.Welcome(
                    session_id=self._session_id,
                    lease_duration=codec.duration(self._times.lease),
                    heartbeat_interval=codec.duration(self._times.heartbeat),
                    resumed_lease_tokens=[format_token(*token) for token in resumed],
                )
            )
        )

    async def run(self, requests: AsyncIterator[queue_pb2.StreamJobsRequest], *, draining: bool) -> None:
        """Serve the stream until the worker is done, is silent for too long, or is told to go."""
        reader = asyncio.create_task(self._read(requests))
        keepalive = asyncio.create_task(self._keep_alive())
        finish = asyncio.create_task(self._finish.wait())
        if draining:
            self.drain(0)
        try:
            await asyncio.wait([reader, finish], return_when=asyncio.FIRST_COMPLETED)
            self._queue.dispatcher.remove(self._claimant)
            if reader.done():
                reader.result()
            if self._reports:
                # without PostgreSQL reports wait; they would be stale when the leases have run out
                limit = self._times.lease if self._closing is None else _CLOSE_SECONDS
                await asyncio.wait(self._reports, timeout=limit)
            if self._writer is not None:
                await asyncio.wait([self._writer])
            if self._closing is not None:
                await self._context.abort(grpc.StatusCode.ABORTED, self._closing)
        except TimeoutError:
            log.info("stream.silent", worker_id=self.worker_id)
            await self._context.abort(
                grpc.StatusCode.DEADLINE_EXCEEDED, f"nothing was heard for {MISSED_HEARTBEATS} heartbeats"
            )
        finally:
            self._queue.dispatcher.remove(self._claimant)
            for task in (reader, keepalive, finish, self._finisher, *self._reports):
                if task is not None:
                    task.cancel()
            # what the worker never confirmed goes back unspent; what was reported meanwhile has no lease any more
            unreceived = [
                job.token for jobs in self._unconfirmed.values() for job in jobs if job.token not in self._named
            ]
            if unreceived:
                self._queue.release_soon(unreceived)

    def drain(self, reconnect_after: float) -> None:
        """Give this worker no more jobs, and ask it to go; a worker that does not is sent away."""
        self._queue.dispatcher.remove(self._claimant)
        self._say(Message(drain=Message.Drain(reconnect_after=codec.duration(reconnect_after))))
        asyncio.get_running_loop().call_later(self._times.leave, self.send_away, "the stream was asked to end")

    def send_away(self, why: str) -> None:
        """End the stream soon."""
        self._closing = self._closing or why
        self._finish.set()

    async def close(self, why: str) -> None:
        """End the stream now, and wait until it has ended."""
        self.send_away(why)
        await self.ended.wait()

    async def _read(self, requests: AsyncIterator[queue_pb2.StreamJobsRequest]) -> None:
        loop = asyncio.get_running_loop()
        silence = self._times.heartbeat * MISSED_HEARTBEATS
        async with asyncio.timeout(silence) as deadline:
            async for request in requests:
                deadline.reschedule(loop.time() + silence)
                match request.WhichOneof("message"):
                    case "results":
                        self._spawn(self._report(request.results))
                    case "credit":
                        self._add_credits(request.credit.add)
                    case "received":
                        self._confirm(request.received.number)
                    case "heartbeat":
                        self._spawn(self._extend([parse_token(text) for text in request.heartbeat.lease_tokens]))
                    case "drain":
                        self._queue.dispatcher.remove(self._claimant)
                        self._finisher = self._finisher or asyncio.create_task(self._finish_when_idle())
                    case "hello":
                        raise Invalid("Hello comes once")
                    case _:
                        raise Invalid("the message is empty or unknown")

    def _add_credits(self, add: int) -> None:
        if not 1 <= add <= MAX_ADD or self._claimant.credits + add > MAX_CREDITS:
            raise Invalid(f"add must be between 1 and {MAX_ADD}, and credits at most {MAX_CREDITS} in all")
        if not self._claimant.gone:
            self._queue.dispatcher.add_credits(self._claimant, add)

    def _confirm(self, number: int) -> None:
        for earlier in [known for known in self._unconfirmed if known <= number]:
            confirmed = self._unconfirmed.pop(earlier)
            if self._named:
                self._named.difference_update(job.token for job in confirmed)

    def _deliver(self, claimed: Sequence[ClaimedJob]) -> None:
        if claimed:
            self._jobs_sent += 1
            self._unconfirmed[self._jobs_sent] = claimed
            message = Message()
            message.jobs.number = self._jobs_sent
            codec.add_claimed(message.jobs.jobs, claimed)
            self._say(message)

    async def _report(self, message: queue_pb2.StreamJobsRequest.Results) -> None:
        """Commit one message of results and acknowledge it; while PostgreSQL is away, keep trying."""
        exceptions = None
        while exceptions is None:
            try:
                exceptions = await self._commit(message.results)
            except Unavailable as error:
                complain("report.unavailable", error)
                await asyncio.sleep(_AWAY_RETRY_SECONDS)
        self._say(Message(result_acks=Message.ResultAcks(number=message.number, exceptions=exceptions)))
        self._reported.set()

    async def _extend(self, tokens: Sequence[Token]) -> None:
        """Extend what a heartbeat names; tell the worker what it has lost."""
        for unconfirmed in self._unconfirmed.values():
            self._named.update({job.token for job in unconfirmed}.intersection(tokens))
        try:
            answers = await self._queue.extend([(token, float(self._times.lease)) for token in tokens])
            lost = [token for token, (verdict, _) in zip(tokens, answers, strict=True) if verdict is not Verdict.OK]
            reasons = await why_lost(self._database, lost) if lost else {}
        except Unavailable:
            return  # the next heartbeat tries again
        for reason in LostReason:
            self.lose([token for token, why in reasons.items() if why is reason], reason)

    def lose(self, tokens: Sequence[Token], reason: LostReason) -> None:
        """Tell the worker to stop working on these."""
        if tokens:
            lease_tokens = [format_token(*token) for token in tokens]
            self._say(Message(lease_lost=Message.LeaseLost(lease_tokens=lease_tokens, reason=_LOST_REASON[reason])))

    async def _finish_when_idle(self) -> None:
        """End the stream when the worker holds nothing any more, by its reports or because leases went otherwise."""
        while True:
            self._reported.clear()
            with contextlib.suppress(Unavailable):
                if not await held_leases(self._database, self._claimant.worker):
                    self._finish.set()
                    return
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._reported.wait(), _LOOK_AGAIN_SECONDS)

    async def _keep_alive(self) -> None:
        """Say something in every heartbeat interval, and good-bye at the stream's age."""
        loop = asyncio.get_running_loop()
        end = loop.time() + self._times.max_age * random.uniform(0.8, 1.2)
        while (left := end - loop.time()) > 0:
            self._said = False
            await asyncio.sleep(min(self._times.heartbeat, left))
            if not self._said:
                self._say(Message(keepalive=Message.Keepalive()))
        self.drain(reconnect_after=random.uniform(0, 1))
        while True:
            await asyncio.sleep(self._times.heartbeat)
            self._say(Message(keepalive=Message.Keepalive()))

    def _spawn(self, work: Any) -> None:
        task = asyncio.create_task(work)
        self._reports.add(task)
        task.add_done_callback(self._report_done)

    def _report_done(self, task: asyncio.Task[None]) -> None:
        self._reports.discard(task)
        if not task.cancelled() and (error := task.exception()):
            log.error("stream.failed", worker_id=self.worker_id, exc_info=error)
            self.send_away("internal error")

    def _say(self, message: Message) -> None:
        self._said = True
        self._outbox.append(message)
        if self._writer is None:
            self._writer = asyncio.create_task(self._write())

    async def _write(self) -> None:
        try:
            while self._outbox:
                await self._context.write(self._outbox.popleft())
        except Exception as error:  # noqa: BLE001 - grpc has many ways to say that the stream is gone
            log.info("stream.broken", worker_id=self.worker_id, error=str(error))
            self._finish.set()
        finally:
            self._writer = None
