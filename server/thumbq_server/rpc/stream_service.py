"""The streams of one server: who has one, and what reaches them from outside."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterable
from typing import Any

from thumbq.v1 import job_pb2, queue_pb2
from thumbq_server.domain.job import Cancellation, Completion, Failure, LostReason, Token, Verdict, format_token
from thumbq_server.domain.refusals import Refused
from thumbq_server.domain.requests import PathRule, parse_token
from thumbq_server.engine.queue import Queue
from thumbq_server.rpc import codec
from thumbq_server.rpc.errors import status
from thumbq_server.rpc.stream import Stream, StreamTimes
from thumbq_server.storage.postgres.database import Database
from thumbq_server.storage.postgres.errors import Unavailable
from thumbq_server.storage.postgres.notify import broadcast

# What servers tell each other: "session NUMBER STREAM" (a newer stream is open), "cancelled NUMBER TOKEN".
_SESSION, _CANCELLED = "session", "cancelled"
TAKEN_OVER = "a newer stream of this session has taken over"


class Streams:
    """The open streams, by the number of their worker's session."""

    def __init__(self, database: Database, queue: Queue, paths: PathRule, times: StreamTimes) -> None:
        self._database = database
        self._queue = queue
        self._times = times
        self._paths = paths
        self._open: dict[int, Stream] = {}
        self._draining = False

    async def serve(self, requests: AsyncIterator[queue_pb2.StreamJobsRequest], context: Any) -> None:
        """Serve one stream to its end."""
        stream = Stream(self._database, self._queue, self.report, self._times, context)
        try:
            worker = await stream.read_hello(requests)
            while older := self._open.get(worker):
                await older.close(TAKEN_OVER)
            self._open[worker] = stream
            try:
                # the older stream may be another server's
                await broadcast(self._database, [f"{_SESSION} {worker} {stream.id}"])
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
        queue = self._queue
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

    async def cancelled(self, jobs: Iterable[Cancellation]) -> None:
        """Tell the workers of cancelled jobs, on whatever server their streams are."""
        payloads = [
            f"{_CANCELLED} {job.session} {format_token(*job.lease)}"
            for job in jobs
            if job.session is not None and job.lease is not None
        ]
        if payloads:
            await broadcast(self._database, payloads)

    def heard(self, payload: str) -> None:
        """Take in what a server told all."""
        kind, number, rest = payload.split(" ")
        stream = self._open.get(int(number))
        if stream is None:
            return
        if kind == _SESSION and rest != stream.id:
            stream.send_away(TAKEN_OVER)
        elif kind == _CANCELLED:
            stream.lose([parse_token(rest)], LostReason.CANCELLED)

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
