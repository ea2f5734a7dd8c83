"""StreamJobs: one loop owns a stream's life."""

import asyncio
import contextlib
import uuid
from collections import deque
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import asyncpg
import grpc
import structlog

from thumbq.v1 import job_pb2, queue_pb2
from thumbq_server.domain.job import (
    Completion,
    Failure,
    Invalid,
    PathRule,
    Refused,
    Token,
    Verdict,
    check_worker_id,
    format_token,
    parse_token,
)
from thumbq_server.engine.dispatcher import Claimant
from thumbq_server.engine.queue import Queue
from thumbq_server.rpc import codec
from thumbq_server.rpc.errors import status
from thumbq_server.storage import leases, workers
from thumbq_server.storage.database import Database, Unavailable

log = structlog.get_logger()

MAX_CREDITS = 100_000
MAX_ADD = 10_000
MAX_SESSION_ID = 100
MISSED_HEARTBEATS = 3
_AWAY_RETRY_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class StreamTimes:
    """Seconds. A delivered job has `delivery_lease`; a heartbeat makes that `lease`."""

    delivery_lease: int = 10
    lease: int = 30
    heartbeat: float = 3.0
    keepalive: float = 15.0


class Streams:
    """The streams of this process, by the number of their worker's session."""

    def __init__(self, database: Database, queue: Queue, paths: PathRule, times: StreamTimes) -> None:
        self.database = database
        self.queue = queue
        self.times = times
        self._paths = paths
        self._open: dict[int, Stream] = {}
        self._draining = False

    async def serve(self, requests: AsyncIterator[queue_pb2.StreamJobsRequest], context: Any) -> None:
        """Serve one stream to its end."""
        stream = Stream(self, context)
        try:
            worker = await stream.read_hello(requests)
            while older := self._open.get(worker):
                await older.close("a newer stream of this session has taken over")
            self._open[worker] = stream
            try:
                await stream.welcome()
                await stream.run(requests, draining=self._draining)
            finally:
                del self._open[worker]
                stream.ended.set()
        except (Refused, Unavailable) as error:
            await context.abort(*status(error))

    async def report(self, results: Iterable[job_pb2.Result]) -> list[queue_pb2.ResultException]:
        """Commit results of all kinds; returns what was not simply taken. Raises Unavailable."""
        read = codec.read_results(results, self._paths)
        queue = self.queue
        completed, failed, released = await asyncio.gather(
            queue.complete(read.completions), queue.fail(read.failures), queue.release(read.releases)
        )
        exceptions = read.invalid
        verdicts = [*(verdict for verdict, _ in completed), *(verdict for verdict, _ in failed), *released]
        items: Iterable[Completion | Failure | Token] = (*read.completions, *read.failures, *read.releases)
        for item, verdict in zip(items, verdicts, strict=True):
            if verdict is not Verdict.OK:
                exceptions.append(codec.result_exception(Token(item.job_id, item.lease_seq), verdict))
        return exceptions

    async def drain(self, reconnect_after: float, grace: float) -> None:
        """Tell every worker to finish its reports and go; return when all have gone or the grace is over (seconds)."""
        self._draining = True
        for stream in self._open.values():
            stream.drain(reconnect_after)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(grace):
                while self._open:
                    await next(iter(self._open.values())).ended.wait()
        for stream in list(self._open.values()):
            await stream.close("the server is going away")


class Stream:
    """One worker's stream: its loop reads; what is to be said goes out in the order it was said."""

    def __init__(self, streams: Streams, context: Any) -> None:
        self._streams = streams
        self._context = context
        self._queue = streams.queue
        self._times = streams.times
        self._outbox: deque[queue_pb2.StreamJobsResponse] = deque()
        self._writer: asyncio.Task[None] | None = None
        self._reports: set[asyncio.Task[None]] = set()
        self._jobs_sent = 0
        # Jobs messages whose arrival is not confirmed, by number.
        self._unconfirmed: dict[int, list[Token]] = {}
        # Of those, the tokens that a heartbeat named all the same.
        self._named: set[Token] = set()
        self._worker_drains = False
        self._claimant: Claimant
        self._finish = asyncio.Event()
        self._closing: str | None = None
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
        worker = await workers.register(
            self._streams.database, self.worker_id, self._session_id, hello.version, hello.labels
        )
        self._claimant = Claimant(worker, self._times.delivery_lease, self._deliver)
        return worker

    async def welcome(self) -> None:
        """Tell the worker its session, the times it has to keep, and what it still holds. Raises Unavailable."""
        resumed = await leases.held(self._streams.database, self._claimant.worker)
        self._say(
            welcome=queue_pb2.StreamJobsResponse.Welcome(
                session_id=self._session_id,
                lease_duration=codec.duration(self._times.lease),
                heartbeat_interval=codec.duration(self._times.heartbeat),
                resumed_lease_tokens=[format_token(*token) for token in resumed],
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
                await asyncio.wait(self._reports)
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
            for task in (reader, keepalive, finish):
                task.cancel()
            # what the worker never confirmed goes back unspent; what was reported meanwhile has no lease any more
            unreceived = [
                token for tokens in self._unconfirmed.values() for token in tokens if token not in self._named
            ]
            if unreceived:
                self._queue.release_soon(unreceived)

    def drain(self, reconnect_after: float) -> None:
        """Give this worker no more jobs, and ask it to go."""
        self._queue.dispatcher.remove(self._claimant)
        self._say(drain=queue_pb2.StreamJobsResponse.Drain(reconnect_after=codec.duration(reconnect_after)))

    async def close(self, why: str) -> None:
        """End the stream now, and wait until it has ended."""
        self._closing = why
        self._finish.set()
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
                        self._worker_drains = True
                        self._queue.dispatcher.remove(self._claimant)
                        self._spawn(self._finish_if_idle())
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
            self._named.difference_update(self._unconfirmed.pop(earlier))

    def _deliver(self, rows: Sequence[asyncpg.Record]) -> None:
        if rows:
            self._jobs_sent += 1
            self._unconfirmed[self._jobs_sent] = [Token(row["job_id"], row["lease_seq"]) for row in rows]
            self._say(jobs=queue_pb2.StreamJobsResponse.Jobs(number=self._jobs_sent, jobs=codec.claimed_jobs(rows)))

    async def _report(self, message: queue_pb2.StreamJobsRequest.Results) -> None:
        """Commit one message of results and acknowledge it; while PostgreSQL is away, keep trying."""
        exceptions = None
        while exceptions is None:
            try:
                exceptions = await self._streams.report(message.results)
            except Unavailable as error:
                log.warning("report.unavailable", worker_id=self.worker_id, error=str(error))
                await asyncio.sleep(_AWAY_RETRY_SECONDS)
        self._say(result_acks=queue_pb2.StreamJobsResponse.ResultAcks(number=message.number, exceptions=exceptions))
        if self._worker_drains:
            await self._finish_if_idle()

    async def _extend(self, tokens: Sequence[Token]) -> None:
        """Extend what a heartbeat names; tell the worker what it has lost."""
        for unconfirmed in self._unconfirmed.values():
            self._named.update(set(unconfirmed).intersection(tokens))
        try:
            answers = await self._queue.extend([(token, float(self._times.lease)) for token in tokens])
        except Unavailable:
            return  # the next heartbeat tries again
        lost = [token for token, (verdict, _) in zip(tokens, answers, strict=True) if verdict is not Verdict.OK]
        if lost:
            self._say(
                lease_lost=queue_pb2.StreamJobsResponse.LeaseLost(
                    lease_tokens=[format_token(*token) for token in lost],
                    reason=job_pb2.LEASE_LOST_REASON_EXPIRED,
                )
            )

    async def _finish_if_idle(self) -> None:
        with contextlib.suppress(Unavailable):
            if not await leases.held(self._streams.database, self._claimant.worker):
                self._finish.set()

    async def _keep_alive(self) -> None:
        while True:
            await asyncio.sleep(self._times.keepalive)
            self._say(keepalive=queue_pb2.StreamJobsResponse.Keepalive())

    def _spawn(self, work: Any) -> None:
        task = asyncio.create_task(work)
        self._reports.add(task)
        task.add_done_callback(self._report_done)

    def _report_done(self, task: asyncio.Task[None]) -> None:
        self._reports.discard(task)
        if not task.cancelled() and (error := task.exception()):
            log.error("stream.failed", worker_id=self.worker_id, exc_info=error)
            self._closing = "internal error"
            self._finish.set()

    def _say(self, **message: Any) -> None:
        self._outbox.append(queue_pb2.StreamJobsResponse(**message))
        if self._writer is None:
            self._writer = asyncio.create_task(self._write())

    async def _write(self) -> None:
        try:
            while self._outbox:
                await self._context.write(self._outbox.popleft())
        except (grpc.RpcError, asyncio.InvalidStateError, grpc.aio.UsageError) as error:
            log.info("stream.broken", worker_id=self.worker_id, error=str(error))
            self._finish.set()
        finally:
            self._writer = None
