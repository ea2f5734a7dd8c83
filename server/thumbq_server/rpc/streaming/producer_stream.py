"""One EnqueueStream call: many messages under way at once, each answered after its commit."""

import asyncio
from collections.abc import AsyncIterator, Container, Sequence
from itertools import compress
from typing import Any, NamedTuple

import grpc
import structlog

from thumbq.v1 import queue_pb2
from thumbq_runtime.limits.rates import TooOften
from thumbq_server.domain.job import Enqueued, NewJob
from thumbq_server.domain.model_versions import NewVersion
from thumbq_server.domain.refusals import Invalid
from thumbq_server.domain.requests import MAX_TOGETHER, check_batch
from thumbq_server.engine.queue import Queue
from thumbq_server.rpc.codec import jobs as codec
from thumbq_server.rpc.codec import new_jobs
from thumbq_server.rpc.errors import StreamEnded, status_of_any
from thumbq_server.rpc.streaming.outbox import Outbox
from thumbq_server.rpc.streaming.writing import UNREAD

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
    """The jobs of a message that may be taken, and the place of each in it."""

    places: Sequence[int]
    jobs: Sequence[NewJob]
    # Empty where no job says any.
    versions: Sequence[NewVersion | None] = ()

    def without(self, refused: Container[int]) -> "_Asked":
        """Return the same without the entries that are refused."""
        kept = [at not in refused for at in range(len(self.jobs))]
        places, jobs, versions = self
        return _Asked(list(compress(places, kept)), list(compress(jobs, kept)), list(compress(versions, kept)))


class ProducerStreams:
    """The streams of producers that are open."""

    def __init__(self, queue: Queue) -> None:
        self._queue = queue
        self._open: set[ProducerStream] = set()
        self._closed = False

    async def serve(self, requests: AsyncIterator[Request], context: Any) -> None:
        """Serve one stream to its end. Raises Refused, StreamEnded."""
        stream = ProducerStream(self._queue, context)
        self._open.add(stream)
        if self._closed:
            stream.shut_down()
        try:
            await stream.run(requests)
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
                self._give_up(UNREAD)
            if self._end.done():
                raise self._end.result()
            reader.result()
        finally:
            reader.cancel()
            await self._outbox.close(_LAST_SECONDS)

    async def _read(self, requests: AsyncIterator[Request]) -> None:
        async for request in requests:
            columns = None
            if request.HasField("columns"):
                if request.jobs:
                    raise Invalid("a message has jobs or columns, not both")
                columns = new_jobs.read_columns(request.columns, MAX_TOGETHER)
            else:
                check_batch(request.jobs, "jobs", MAX_TOGETHER)
            answering = asyncio.create_task(self._answer(request, columns))
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

    async def _answer(self, request: Request, columns: new_jobs.NewJobs | None) -> None:
        answer = Response(number=request.number)
        asked = _read_columns(columns, answer) if columns else _read(request, answer)
        count = len(columns.model_ids) if columns else len(request.jobs)
        try:
            asked = await self._admitted(asked, answer)
            answers = await self._queue.enqueue_admitted(asked.jobs, asked.versions)
        except Exception as error:  # noqa: BLE001 - it belongs to these jobs alone
            for place in asked.places:
                _add_exception(answer, place, error)
            answer.job_ids.extend([0] * count)
        else:
            _add_answers(answer, asked.places, answers, count)
        codec.set_pressure(answer, self._queue.pressure.level)
        self._outbox.send(answer)

    async def _admitted(self, asked: _Asked, answer: Response) -> _Asked:
        """Return the jobs for which the queue has room; the others become exceptions of the answer."""
        refusals = await self._queue.pressure.refusal_of(asked.jobs)
        for at, refusal in refusals.items():
            _add_exception(answer, asked.places[at], refusal)
        return asked.without(refusals) if refusals else asked

    def _give_up(self, why: str) -> None:
        log.info("stream.broken", error=why)
        self._end_with(grpc.StatusCode.ABORTED, why)

    def _end_with(self, code: grpc.StatusCode, why: str) -> None:
        if not self._end.done():
            self._end.set_result(StreamEnded(code, why))


def _read(request: Request, answer: Response) -> _Asked:
    """Return the jobs that may be taken; the others become exceptions of the answer."""
    places, jobs, versions = [], [], []
    for place, job in enumerate(request.jobs):
        try:
            read, version = codec.read_new_job(job), codec.read_version(job)
        except Exception as error:  # noqa: BLE001 - it belongs to this job alone
            _add_exception(answer, place, error)
        else:
            places.append(place)
            jobs.append(read)
            versions.append(version)
    return _Asked(places, jobs, versions)


def _read_columns(columns: new_jobs.NewJobs, answer: Response) -> _Asked:
    """Do as _read does for messages."""
    jobs, refusals = columns.jobs(), columns.refusals()
    for place, why in refusals.items():
        _add_exception(answer, place, why)
    places = [place for place in range(len(jobs)) if place not in refusals]
    return _Asked(places, [jobs[place] for place in places] if refusals else jobs)


def _add_answers(answer: Response, places: Sequence[int], answers: Sequence[Enqueued], count: int) -> None:
    """Add what became of the jobs at `places` of `count`. The others were refused."""
    if len(answers) == count:
        answer.job_ids.extend([enqueued.job_id for enqueued in answers])
        answer.outcomes.extend(new_jobs.outcomes(answers))
        return
    job_ids, outcomes = [0] * count, [queue_pb2.ENQUEUE_OUTCOME_UNSPECIFIED] * count
    for place, enqueued in zip(places, answers, strict=True):
        job_ids[place] = enqueued.job_id
        outcomes[place] = codec.OUTCOME[enqueued.outcome]
    answer.job_ids.extend(job_ids)
    answer.outcomes.extend(outcomes)


def _add_exception(answer: Response, place: int, error: Exception) -> None:
    code, message = status_of_any(_METHOD, error)
    exception = answer.exceptions.add(place=place, code=code.value[0], message=message)
    if isinstance(error, TooOften):
        exception.retry_after.FromSeconds(error.retry_after)
