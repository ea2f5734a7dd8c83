"""One StreamJobs call: one task reads, another writes the outbox in order. `engine.sessions` has the rules."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

import grpc
import structlog

from thumbq.v1 import job_pb2, queue_pb2
from thumbq_server.domain.columns import Claimed
from thumbq_server.domain.job import LostReason, Token, format_token
from thumbq_server.domain.paths import PathRule
from thumbq_server.domain.refusals import Invalid
from thumbq_server.domain.requests import check_at_most
from thumbq_server.engine.sessions.phase import Phase
from thumbq_server.engine.sessions.session import MISSED_HEARTBEATS, Session, SessionTimes
from thumbq_server.rpc import results
from thumbq_server.rpc.codec.columns import Successes, job_columns, successes
from thumbq_server.rpc.codec.jobs import add_claimed
from thumbq_server.rpc.codec.results import LOST_REASON
from thumbq_server.rpc.codec.times import duration
from thumbq_server.rpc.errors import StreamEnded
from thumbq_server.rpc.streaming import heartbeats, progress
from thumbq_server.rpc.streaming.acknowledgements import Acknowledgements
from thumbq_server.rpc.streaming.outbox import Outbox
from thumbq_server.rpc.streaming.writing import UNREAD

log = structlog.get_logger()

Message = queue_pb2.StreamJobsResponse
T = TypeVar("T")

# Messages that are under way at once; while there are more, the worker is not listened to.
MOST_UNDER_WAY = 256
MOST_BYTES_UNDER_WAY = 4 * 1024 * 1024
# Moving a timer for each message costs more than most messages. So a worker that falls silent has at least this much of
# its time, and never more: the leases of jobs that it has not confirmed would end, and cost attempts.
_LEAST_SILENCE = 0.95
# How long the last messages may take: after the worker's own end, and after it was sent away.
_FLUSH_SECONDS = 10.0
_AWAY_FLUSH_SECONDS = 2.0


class Asks(NamedTuple):
    """What a worker asks for in its Hello."""

    columns: bool
    kinds: bool
    acks_with_jobs: bool


class _Results(NamedTuple):
    number: int
    results: Sequence[job_pb2.Result]
    completed: Sequence[Successes]

    @property
    def total(self) -> int:
        return len(self.results) + sum(len(group.job_ids) for group in self.completed)


class Stream:
    """Translates between the messages of a stream and its worker's session. It is the session's Peer."""

    def __init__(self, times: SessionTimes, paths: PathRule, context: Any, asks: Asks) -> None:
        self._times = times
        self._paths = paths
        self._asks = asks
        self._outbox = Outbox(context, self._give_up)
        self._acknowledgements = Acknowledgements(self._send_acknowledgements)
        self._under_way: list[int] = []
        # Set by the first message, Welcome.
        self._session: Session

    async def run(self, requests: AsyncIterator[queue_pb2.StreamJobsRequest]) -> None:
        """Serve the stream until its session closes, or the worker is silent for too long.

        Raises Invalid, StreamEnded.
        """
        session = self._session
        reader = asyncio.create_task(self._read(requests))
        closing = asyncio.create_task(session.closing.wait())
        keepalive = asyncio.create_task(self._keep_alive())
        try:
            await asyncio.wait([reader, closing], return_when=asyncio.FIRST_COMPLETED)
            session.close()
            self._acknowledgements.flush()
            if reader.done():
                reader.result()
            await session.settled()
            away = session.sent_away_because
            sent = await self._outbox.flushed(_FLUSH_SECONDS if away is None else _AWAY_FLUSH_SECONDS)
            if away is not None or not sent:
                raise StreamEnded(grpc.StatusCode.ABORTED, away or UNREAD)
        except TimeoutError:
            log.info("stream.silent", worker_id=session.worker_id)
            why = f"nothing was heard for {MISSED_HEARTBEATS} heartbeats"
            raise StreamEnded(grpc.StatusCode.DEADLINE_EXCEEDED, why) from None
        finally:
            for task in (reader, closing, keepalive):
                task.cancel()
            self._acknowledgements.close()
            await self._outbox.close(_AWAY_FLUSH_SECONDS)

    def send_welcome(self, session: Session, held: Sequence[Token]) -> None:
        """Tell the worker its session, the times that it has to keep, and the leases that it still has."""
        self._session = session
        self._outbox.send(
            Message(
                welcome=Message.Welcome(
                    session_id=session.name,
                    lease_duration=duration(self._times.lease),
                    heartbeat_interval=duration(self._times.heartbeat),
                    resumed_lease_tokens=[format_token(*token, session.history) for token in held],
                    columns=self._asks.columns,
                    kinds=self._asks.kinds,
                    progress=True,
                    results_with_credit=True,
                )
            )
        )

    def send_jobs(self, number: int, jobs: Claimed) -> None:
        """Send message `number` of jobs."""
        message = Message()
        message.jobs.number = number
        message.jobs.acknowledged.extend(self._acknowledgements.take())
        if self._asks.columns:
            message.jobs.columns.CopyFrom(job_columns(jobs, self._session.history))
        else:
            add_claimed(message.jobs.jobs, jobs, self._session.history)
        self._outbox.send(message)

    def send_lease_lost(self, tokens: Sequence[Token], reason: LostReason) -> None:
        """Tell the worker to stop working on these."""
        self._send_lost([format_token(*token, self._session.history) for token in tokens], reason)

    def send_drain(self, reconnect_after: float) -> None:
        """Ask the worker to go."""
        self._acknowledgements.flush()
        self._outbox.send(Message(drain=Message.Drain(reconnect_after=duration(reconnect_after))))

    async def _read(self, requests: AsyncIterator[queue_pb2.StreamJobsRequest]) -> None:
        loop, silence = asyncio.get_running_loop(), self._times.silence
        ends = loop.time() + silence
        async with asyncio.timeout_at(ends) as deadline:
            async for request in requests:
                self._take_in(request)
                if self._is_busy():
                    deadline.reschedule(None)
                    ends = 0.0
                while self._is_busy():
                    self._outbox.relieved.clear()
                    await self._outbox.relieved.wait()
                if ends < loop.time() + silence * _LEAST_SILENCE:
                    ends = loop.time() + silence
                    deadline.reschedule(ends)

    def _is_busy(self) -> bool:
        return (
            self._outbox.is_full or len(self._under_way) > MOST_UNDER_WAY or sum(self._under_way) > MOST_BYTES_UNDER_WAY
        )

    def _take_in(self, request: queue_pb2.StreamJobsRequest) -> None:
        session = self._session
        match request.WhichOneof("message"):
            case "results":
                if request.results.credit:
                    session.add_credits(request.results.credit)
                session.spawn(self._counted(request.ByteSize(), self._report, self._read_results(request.results)))
            case "credit":
                session.add_credits(request.credit.add)
            case "received":
                session.confirm(request.received.number)
            case "heartbeat":
                check_at_most(request.heartbeat.lease_tokens, "leaseTokens")
                session.spawn(self._counted(request.ByteSize(), self._heartbeat, request.heartbeat))
            case "progress":
                session.spawn(self._counted(request.ByteSize(), self._progress, progress.read(request.progress)))
            case "drain":
                self._acknowledgements.flush()
                session.finish()
            case "hello":
                raise Invalid("Hello comes once")
            case _:
                raise Invalid("the message is empty or unknown")

    async def _counted(self, size: int, work: Callable[[T], Awaitable[None]], message: T) -> None:
        self._under_way.append(size)
        try:
            await work(message)
        finally:
            self._under_way.remove(size)
            self._outbox.relieved.set()

    def _read_results(self, message: queue_pb2.StreamJobsRequest.Results) -> _Results:
        check_at_most(message.results, "results")
        if message.completed and not self._asks.columns:
            raise Invalid("completed needs columns in Hello")
        return _Results(message.number, message.results, successes(message.completed, len(message.results)))

    async def _report(self, message: _Results) -> None:
        session = self._session
        exceptions: list[queue_pb2.ResultException] = []
        if message.results or not message.completed:
            exceptions += await results.take(message.results, self._paths, session.history, session.report)
        if message.completed:
            exceptions += await results.take_successes(message.completed, self._paths, session.history, session.report)
        waits = self._asks.acks_with_jobs and not exceptions and session.phase is Phase.WORKING
        # Messages without results count for nothing: any number of them would be held.
        if waits and message.total:
            self._acknowledgements.hold(message.number, message.total)
        else:
            self._outbox.send(Message(result_acks=Message.ResultAcks(number=message.number, exceptions=exceptions)))

    async def _heartbeat(self, message: queue_pb2.StreamJobsRequest.Heartbeat) -> None:
        session = self._session
        if unknown := await heartbeats.take(message.lease_tokens, session.history, session.heartbeat):
            self._send_lost(unknown, LostReason.EXPIRED)

    async def _progress(self, told: Mapping[str, progress.Told]) -> None:
        session = self._session
        if unknown := await progress.take(told, session.history, session.progress):
            self._send_lost(unknown, LostReason.EXPIRED)

    def _send_acknowledgements(self, numbers: Sequence[int]) -> None:
        *others, newest = numbers
        self._outbox.send(Message(result_acks=Message.ResultAcks(number=newest, also=others)))

    def _send_lost(self, lease_tokens: Sequence[str], reason: LostReason) -> None:
        self._outbox.send(Message(lease_lost=Message.LeaseLost(lease_tokens=lease_tokens, reason=LOST_REASON[reason])))

    async def _keep_alive(self) -> None:
        """Send something in every heartbeat interval."""
        while True:
            count = self._outbox.count
            await asyncio.sleep(self._times.heartbeat)
            if self._outbox.count == count:
                self._outbox.send(Message(keepalive=Message.Keepalive()))

    def _give_up(self, why: str) -> None:
        log.info("stream.broken", worker_id=self._session.worker_id, error=why)
        self._session.send_away(why)
