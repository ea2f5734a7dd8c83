"""One StreamJobs call: one task reads, another writes the outbox in order. `engine.sessions` has the rules."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Sequence
from typing import Any

import grpc
import structlog

from thumbq.v1 import queue_pb2
from thumbq_server.domain.job import ClaimedJob, LostReason, Token, format_token
from thumbq_server.domain.refusals import Invalid
from thumbq_server.domain.requests import PathRule, parse_token
from thumbq_server.engine.sessions.session import MISSED_HEARTBEATS, Session, SessionTimes
from thumbq_server.rpc import results
from thumbq_server.rpc.codec.jobs import add_claimed
from thumbq_server.rpc.codec.results import LOST_REASON
from thumbq_server.rpc.codec.times import duration

log = structlog.get_logger()
Message = queue_pb2.StreamJobsResponse


class Stream:
    """Translates between the messages of a stream and its worker's session. It is the session's Peer."""

    def __init__(self, times: SessionTimes, paths: PathRule, context: Any) -> None:
        self._times = times
        self._paths = paths
        self._context = context
        self._outbox: deque[Message] = deque()
        self._writer: asyncio.Task[None] | None = None
        # Whether nothing was sent since the keepalive looked last.
        self._quiet = False
        # Set by the first message, Welcome.
        self._session: Session

    async def run(self, requests: AsyncIterator[queue_pb2.StreamJobsRequest]) -> None:
        """Serve the stream until its session closes, or the worker is silent for too long. Raises Invalid."""
        session = self._session
        reader = asyncio.create_task(self._read(requests))
        closing = asyncio.create_task(session.closing.wait())
        keepalive = asyncio.create_task(self._keep_alive())
        try:
            await asyncio.wait([reader, closing], return_when=asyncio.FIRST_COMPLETED)
            session.close()
            if reader.done():
                reader.result()
            await session.settled()
            if self._writer is not None:
                await asyncio.wait([self._writer])
            if session.sent_away_because is not None:
                await self._context.abort(grpc.StatusCode.ABORTED, session.sent_away_because)
        except TimeoutError:
            log.info("stream.silent", worker_id=session.worker_id)
            await self._context.abort(
                grpc.StatusCode.DEADLINE_EXCEEDED, f"nothing was heard for {MISSED_HEARTBEATS} heartbeats"
            )
        finally:
            for task in (reader, closing, keepalive):
                task.cancel()

    def send_welcome(self, session: Session, held: Sequence[Token]) -> None:
        """Tell the worker its session, the times that it has to keep, and the leases that it still has."""
        self._session = session
        self._send(
            Message(
                welcome=Message.Welcome(
                    session_id=session.name,
                    lease_duration=duration(self._times.lease),
                    heartbeat_interval=duration(self._times.heartbeat),
                    resumed_lease_tokens=[format_token(*token) for token in held],
                )
            )
        )

    def send_jobs(self, number: int, jobs: Sequence[ClaimedJob]) -> None:
        """Send message `number` of jobs."""
        message = Message()
        message.jobs.number = number
        add_claimed(message.jobs.jobs, jobs)
        self._send(message)

    def send_lease_lost(self, tokens: Sequence[Token], reason: LostReason) -> None:
        """Tell the worker to stop working on these."""
        lease_tokens = [format_token(*token) for token in tokens]
        self._send(Message(lease_lost=Message.LeaseLost(lease_tokens=lease_tokens, reason=LOST_REASON[reason])))

    def send_drain(self, reconnect_after: float) -> None:
        """Ask the worker to go."""
        self._send(Message(drain=Message.Drain(reconnect_after=duration(reconnect_after))))

    async def _read(self, requests: AsyncIterator[queue_pb2.StreamJobsRequest]) -> None:
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(self._times.silence) as deadline:
            async for request in requests:
                deadline.reschedule(loop.time() + self._times.silence)
                self._take_in(request)

    def _take_in(self, request: queue_pb2.StreamJobsRequest) -> None:
        session = self._session
        match request.WhichOneof("message"):
            case "results":
                session.spawn(self._report(request.results))
            case "credit":
                session.add_credits(request.credit.add)
            case "received":
                session.confirm(request.received.number)
            case "heartbeat":
                session.spawn(session.heartbeat([parse_token(text) for text in request.heartbeat.lease_tokens]))
            case "drain":
                session.finish()
            case "hello":
                raise Invalid("Hello comes once")
            case _:
                raise Invalid("the message is empty or unknown")

    async def _report(self, message: queue_pb2.StreamJobsRequest.Results) -> None:
        exceptions = await results.take(message.results, self._paths, self._session.report)
        self._send(Message(result_acks=Message.ResultAcks(number=message.number, exceptions=exceptions)))

    async def _keep_alive(self) -> None:
        """Send something in every heartbeat interval."""
        while True:
            self._quiet = True
            await asyncio.sleep(self._times.heartbeat)
            if self._quiet:
                self._send(Message(keepalive=Message.Keepalive()))

    def _send(self, message: Message) -> None:
        self._quiet = False
        self._outbox.append(message)
        if self._writer is None:
            self._writer = asyncio.create_task(self._write())

    async def _write(self) -> None:
        try:
            while self._outbox:
                await self._context.write(self._outbox.popleft())
        except Exception as error:  # noqa: BLE001 - grpc has many ways to say that the stream is gone
            log.info("stream.broken", worker_id=self._session.worker_id, error=str(error))
            self._session.close()
        finally:
            self._writer = None
