"""Jobs that are enqueued one by one: those that come together leave together, over one stream."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from time import monotonic
from typing import NamedTuple

import grpc

from thumbq import spans
from thumbq.client.asking import asking
from thumbq.client.batches import Enqueued, columns_of
from thumbq.client.calls import AWAY, Calls, Stubs
from thumbq.client.deadlines import Deadlines
from thumbq.client.errors import InvalidJob, ThumbqError, Unsupported, error_for
from thumbq.client.kinds import check_kinds_known
from thumbq.client.pressure import pause_of
from thumbq.connection import Backoff, told_to_wait
from thumbq.v1.queue_pb2 import (
    EnqueueException,
    EnqueueJobRequest,
    EnqueueOutcome,
    EnqueueStreamRequest,
    EnqueueStreamResponse,
    NewJob,
)

# Of a message, which then has less than the 4 MiB that the server takes.
_MOST_JOBS = 500
_LARGEST_JOB = 8 * 1024  # bytes
# From this many jobs on, columns cost both sides less than messages.
_FEWEST_IN_COLUMNS = 4
# From this many jobs on, two messages of half of them let producer, server and PostgreSQL work side by side
# (decision 0082).
_WORTH_HALVING = 32
# Another stream ends as this one did. With any other status it broke: with INTERNAL, if a message was being written.
_FINAL = (
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.PERMISSION_DENIED,
    grpc.StatusCode.UNAUTHENTICATED,
    grpc.StatusCode.UNIMPLEMENTED,
)
_REFUSED = EnqueueOutcome.ENQUEUE_OUTCOME_UNSPECIFIED
_CODES = {code.value[0]: code for code in grpc.StatusCode}

_Call = grpc.aio.StreamStreamCall[EnqueueStreamRequest, EnqueueStreamResponse]


class _Caller(NamedTuple):
    """A job, and where its answer goes. The answer is cancelled when its caller has given up."""

    job: NewJob
    answer: asyncio.Future[Enqueued]


class EnqueueStream:
    """Opens a stream for the first job, and another one when it broke; what was unanswered is sent again.

    Enqueueing is idempotent, so that sending a job twice is safe. A server that does not know EnqueueStream gets a call
    for each job, and one that does not know columns gets messages.
    """

    def __init__(self, calls: Calls) -> None:
        self._calls = calls
        self._waiting: deque[_Caller] = deque()
        self._wake = asyncio.Event()
        # By the number of their message.
        self._unanswered: dict[int, list[_Caller]] = {}
        self._number = 0
        self._task: asyncio.Task[None] | None = None
        self._backoff = Backoff(limit=1.0)
        # Why no answer has come since the last one, as far as anything says so.
        self._broken_by = ""
        self._deadlines = Deadlines(calls.timeout, self._too_late)
        self._supported = True
        # False once a stream has ended because of columns.
        self._columns = True
        # Whether the server is there, and its database is not.
        self._away = False
        # No message leaves before this moment: the queue is full, or nearly so.
        self._not_before = 0.0

    async def enqueue(self, job: NewJob) -> Enqueued:
        """Enqueue one job, and return the answer after its commit. Raises InvalidJob, Unavailable, Unsupported."""
        if not spans.may_be_wanted():
            return await self._enqueue(job)
        with asking([job]) as (sent,):
            return await self._enqueue(sent)

    async def _enqueue(self, job: NewJob) -> Enqueued:
        if self._supported and job.ByteSize() <= _LARGEST_JOB:
            caller = _Caller(job, asyncio.get_running_loop().create_future())
            self._add(caller)
            try:
                return await caller.answer
            except Unsupported:
                self._supported = False
        return await self._alone(job)

    async def close(self) -> None:
        """End the stream. Jobs without an answer may have been taken or not; their callers get Unavailable."""
        if self._task:
            self._task.cancel()
            await asyncio.wait((self._task,))
            self._task = None  # a task that is cancelled before it began does not say so itself
        self._deadlines.close()
        self._refuse_waiting(grpc.StatusCode.UNAVAILABLE, "the client was closed")

    async def _alone(self, job: NewJob) -> Enqueued:
        # The fields of the two messages have the same numbers.
        request = EnqueueJobRequest.FromString(job.SerializeToString())
        response = await self._calls.call(lambda stubs: stubs.queue.EnqueueJob, request, invalid=InvalidJob)
        check_kinds_known([job], [response])
        return Enqueued(response.job_id, response.outcome)

    def _add(self, caller: _Caller) -> None:
        stubs = self._calls.stubs
        if self._task is None:
            # The client may have been opened again, on another loop.
            self._wake = asyncio.Event()
        self._waiting.append(caller)
        self._deadlines.add(caller.answer)
        self._wake.set()
        if self._task is None:
            self._task = asyncio.create_task(self._serve(stubs))

    async def _serve(self, stubs: Stubs) -> None:
        """Keep a stream open, until it breaks and nothing waits for another one."""
        try:
            while True:
                call, told = stubs.queue.EnqueueStream(), 0.0
                try:
                    await self._exchange(call)
                except grpc.aio.AioRpcError as error:
                    self._broken_by, told = error.details() or error.code().name, told_to_wait(error)
                    if error.code() is grpc.StatusCode.INVALID_ARGUMENT and self._columns:
                        # A server of an older version overlooks columns, and sees a message without jobs.
                        self._columns = False
                    elif renewed := self._calls.renew(stubs, error.code()):
                        stubs = renewed
                    elif error.code() in _FINAL:
                        self._send_again()
                        self._refuse_waiting(error.code(), self._broken_by)
                finally:
                    call.cancel()
                    self._send_again()
                if not self._waiting:
                    return
                await asyncio.sleep(max(told, self._backoff.pause()))
        finally:
            self._task = None

    async def _exchange(self, call: _Call) -> None:
        """Send jobs and take answers. Return when the server ends the stream. Raises AioRpcError when it breaks."""
        writer = asyncio.create_task(self._write(call))
        try:
            while isinstance(answer := await call.read(), EnqueueStreamResponse):
                self._take(answer)
        finally:
            writer.cancel()
            # When the call is over, the reader knows why.
            await asyncio.gather(writer, return_exceptions=True)

    async def _write(self, call: _Call) -> None:
        while True:
            if self._away:
                await asyncio.sleep(self._backoff.pause())
                self._away = False
            if (early := self._not_before - monotonic()) > 0:
                await asyncio.sleep(early)
            elif callers := self._next():
                self._number += 1
                self._unanswered[self._number] = callers
                await call.write(self._message([caller.job for caller in callers]))
            else:
                self._wake.clear()
                await self._wake.wait()

    def _message(self, jobs: Sequence[NewJob]) -> EnqueueStreamRequest:
        if self._columns and len(jobs) >= _FEWEST_IN_COLUMNS and (columns := columns_of(jobs)):
            return EnqueueStreamRequest(number=self._number, columns=columns)
        return EnqueueStreamRequest(number=self._number, jobs=jobs)

    def _next(self) -> list[_Caller]:
        callers: list[_Caller] = []
        is_halved = len(self._waiting) >= _WORTH_HALVING and not self._unanswered
        most = min(_MOST_JOBS, len(self._waiting) // 2) if is_halved else _MOST_JOBS
        while self._waiting and len(callers) < most:
            caller = self._waiting.popleft()
            if not caller.answer.done():
                callers.append(caller)
        return callers

    def _take(self, answer: EnqueueStreamResponse) -> None:
        callers = self._unanswered.pop(answer.number)
        self._broken_by = ""
        self._wait(pause_of(answer))
        refused = {exception.place: exception for exception in answer.exceptions}
        # One outcome is that of all; none, when all are refused.
        outcomes = answer.outcomes if len(answer.outcomes) > 1 else [*answer.outcomes, _REFUSED][:1] * len(callers)
        for place, (caller, job_id, outcome) in enumerate(zip(callers, answer.job_ids, outcomes, strict=True)):
            if exception := refused.get(place):
                self._refuse(caller, exception)
            elif not caller.answer.done():
                # Every server that has this stream knows kinds.
                caller.answer.set_result(Enqueued(job_id, outcome))
                self._backoff.reset()

    def _refuse(self, caller: _Caller, exception: EnqueueException) -> None:
        code, message = _CODES[exception.code], exception.message
        told = exception.retry_after.ToTimedelta().total_seconds()
        if code in AWAY or told:
            self._away = self._away or code in AWAY
            self._wait(told)
            self._broken_by = message
            self._waiting.append(caller)
            self._wake.set()
        elif not caller.answer.done():
            caller.answer.set_exception(error_for(code, message, self._calls.target, InvalidJob))

    def _too_late(self) -> ThumbqError:
        if self._broken_by:
            return error_for(grpc.StatusCode.UNAVAILABLE, self._broken_by, self._calls.target)
        return error_for(grpc.StatusCode.DEADLINE_EXCEEDED, "no answer came in time", self._calls.target)

    def _wait(self, seconds: float) -> None:
        if seconds:
            self._not_before = max(self._not_before, monotonic() + seconds)

    def _refuse_waiting(self, code: grpc.StatusCode, message: str) -> None:
        while self._waiting:
            answer = self._waiting.popleft().answer
            if not answer.done():
                answer.set_exception(error_for(code, message, self._calls.target))

    def _send_again(self) -> None:
        unanswered = [caller for callers in self._unanswered.values() for caller in callers]
        self._unanswered.clear()
        self._waiting.extendleft(reversed(unanswered))
