"""The streams of workers: how they begin, and with which status they end."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from thumbq.v1 import queue_pb2
from thumbq_server.domain.paths import PathRule
from thumbq_server.domain.refusals import Invalid
from thumbq_server.engine.sessions.registry import Hello, Sessions
from thumbq_server.rpc.counted import counted_for
from thumbq_server.rpc.streaming.stream import Asks, Stream


class Streams:
    """Serves each StreamJobs call with a session of its worker."""

    def __init__(self, sessions: Sessions, paths: PathRule) -> None:
        self._sessions = sessions
        self._paths = paths

    async def serve(self, requests: AsyncIterator[queue_pb2.StreamJobsRequest], context: Any) -> None:
        """Serve one stream to its end. Raises Refused, Unavailable, StreamEnded.

        The guard sends the status after the session has ended, since a worker that does not read can delay it.
        """
        said = await self._read_hello(requests)
        hello = Hello(said.worker_id, said.session_id, said.version, said.labels, said.kinds)
        asks = Asks(said.columns, bool(said.kinds), said.acks_with_jobs)
        stream = Stream(self._sessions.times, self._paths, context, asks)
        async with self._sessions.open(hello, stream, counted_for()):
            await stream.run(requests)

    async def _read_hello(
        self, requests: AsyncIterator[queue_pb2.StreamJobsRequest]
    ) -> queue_pb2.StreamJobsRequest.Hello:
        try:
            async with asyncio.timeout(self._sessions.times.silence):
                first = await anext(requests)
        except (StopAsyncIteration, TimeoutError):
            raise Invalid("the stream must begin with Hello") from None
        if first.WhichOneof("message") != "hello":
            raise Invalid("the stream must begin with Hello")
        return first.hello
