"""One EnqueueStream call: many messages under way at once, each answered after its commit."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any, NamedTuple

import grpc
import structlog

from thumbq.v1 import queue_pb2
from thumbq_runtime.limits.rates import TooOften
from thumbq_server.domain.job import NewJob
from thumbq_server.domain.model_versions import NewVersion
from thumbq_server.domain.requests import MAX_TOGETHER, check_batch
from thumbq_server.engine.queue import Queue
from thumbq_server.rpc.codec import jobs as codec
from thumbq_server.rpc.errors import status_of_any
from thumbq_server.rpc.streaming.outbox import Outbox
from thumbq_server.rpc.streaming.stream import StreamEnded

log = structlog.get_logger()

_METHOD = "/thumbq.v1.QueueService/EnqueueStream"
Request = queue_pb2.EnqueueStreamRequest
Response = queue_pb2.EnqueueStreamResponse

# What may be unanswered; while there is more, the producer is not listened to.
MOST_UNANSWERED = 64
MOST_BYTES_UNANSWERED = 4 * 1024 * 1024
# How long the last answers may take, and then one that is being sent.
_FLUSH_SECONDS = 10.0
_LAST_SECONDS = 2.0


class _Asked(NamedTuple):
    """A job, and its place in the message."""

    place: int
    job: NewJob
    version: NewVersion | None


class ProducerStreams:
    """The streams of producers that are open."""

    def __init__(self, queue: Queue) -> None:
        self._queue = queue
        self._open: set[ProducerStream] = set()
        self._closed = False

    async def serve(self, requests: AsyncIterator[Request], context: Any) -> None:
        """Serve one stream to its end. Raises Refused."""
        stream = ProducerStream(self._queue, context)
        self._open.add(stream)
        if self._closed:
            stream.shut_down()
        try:
            await stream.run(requests)
        except StreamEnded as end:
            await context.abort(end.code, str(end))
        finally:
            self._open.discard(stream)

    def close(self) -> None:
        """End every stream as soon as it has the answers to what was read."""
        self._closed = True
        for stream in self._open:
            stream.shut_down()


class ProducerStream:
    """Enqueues what comes, and sends each answer as soon as it is there."""

    def __init__(self, queue: Queue, context: Any) -> None:
        self._queue = queue
        self._outbox = Outbox(context, self._give_up)
        self._unanswered: dict[asyncio.Task[None], int] = {}
        # Done when the stream ends for another reason than the producer's half-close.
        self._end: asyncio.Future[StreamEnded] = asyncio.get_running_loop().create_future()

    def shut_down(self) -> None:
        """Read no more."""
        self._end_with(grpc.StatusCode.UNAVAILABLE, "the server shuts down; send again what was not answered")

    async def run(self, requests: AsyncIterator[Request]) -> None:
        """Serve the stream until the producer or the server ends it. Raises Invalid, StreamEnded."""
        reader = asyncio.create_task(self._read(requests))
        waited_for: list[asyncio.Future[Any]] = [reader, self._end]
        try:
            await asyncio.wait(waited_for, return_when=asyncio.FIRST_COMPLETED)
            if self._end.done():
                reader.cancel()
            if self._unanswered:
                await asyncio.wait(self._unanswered)
            if not await self._outbox.flushed(_FLUSH_SECONDS):
                self._give_up("the client does not read what it is sent")
            if self._end.done():
                raise self._end.result()
            reader.result()
        finally:
            reader.cancel()
            await self._outbox.close(_LAST_SECONDS)

    async def _read(self, requests: AsyncIterator[Request]) -> None:
        async for request in requests:
            check_batch(request.jobs, "jobs", MAX_TOGETHER)
            answering = asyncio.create_task(self._answer(request))
            self._unanswered[answering] = request.ByteSize()
            answering.add_done_callback(self._answered)
            while self._is_busy():
                self._outbox.relieved.clear()
                await self._outbox.relieved.wait()

    def _is_busy(self) -> bool:
        sizes = self._unanswered.values()
        return self._outbox.is_full or len(sizes) >= MOST_UNANSWERED or sum(sizes) >= MOST_BYTES_UNANSWERED

    def _answered(self, answering: asyncio.Task[None]) -> None:
        del self._unanswered[answering]
        self._outbox.relieved.set()

    async def _answer(self, request: Request) -> None:
        answer = Response(number=request.number, job_ids=[0] * len(request.jobs))
        asked = _read(request, answer)
        try:
            asked = await self._admitted(asked, answer)
            await self._queue.versions.write([each.version for each in asked])
            answers = await self._queue.enqueue([each.job for each in asked])
        except Exception as error:  # noqa: BLE001 - it belongs to these jobs alone
            for each in asked:
                _add_exception(answer, each.place, error)
        else:
            outcomes = [queue_pb2.ENQUEUE_OUTCOME_UNSPECIFIED] * len(request.jobs)
            for each, enqueued in zip(asked, answers, strict=True):
                answer.job_ids[each.place] = enqueued.job_id
                outcomes[each.place] = codec.OUTCOME[enqueued.outcome]
            answer.outcomes.extend(outcomes[:1] if len(set(outcomes)) == 1 else outcomes)
        codec.set_pressure(answer, self._queue.pressure.level)
        self._outbox.send(answer)

    async def _admitted(self, asked: list[_Asked], answer: Response) -> list[_Asked]:
        """Return the jobs for which the queue has room; the others become exceptions of the answer."""
        refusals = await self._queue.pressure.refusal_of([each.job for each in asked])
        for at, refusal in refusals.items():
            _add_exception(answer, asked[at].place, refusal)
        return [each for at, each in enumerate(asked) if at not in refusals] if refusals else asked

    def _give_up(self, why: str) -> None:
        log.info("stream.broken", error=why)
        self._end_with(grpc.StatusCode.ABORTED, why)

    def _end_with(self, code: grpc.StatusCode, why: str) -> None:
        if not self._end.done():
            self._end.set_result(StreamEnded(code, why))


def _read(request: Request, answer: Response) -> list[_Asked]:
    """Return the jobs that may be taken; the others become exceptions of the answer."""
    asked: list[_Asked] = []
    for place, job in enumerate(request.jobs):
        try:
            asked.append(_Asked(place, codec.read_new_job(job), codec.read_version(job)))
        except Exception as error:  # noqa: BLE001 - it belongs to this job alone
            _add_exception(answer, place, error)
    return asked


def _add_exception(answer: Response, place: int, error: Exception) -> None:
    code, message = status_of_any(_METHOD, error)
    exception = answer.exceptions.add(place=place, code=code.value[0], message=message)
    if isinstance(error, TooOften):
        exception.retry_after.FromSeconds(error.retry_after)
