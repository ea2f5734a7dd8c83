"""Calls that come together leave together: a message carries what came while the last one was under way."""

import asyncio
from collections import deque
from collections.abc import Coroutine, Iterable, Mapping
from contextlib import suppress
from copy import copy
from typing import Any, NamedTuple

import grpc
from google.protobuf.descriptor import Descriptor
from google.protobuf.message import Message

from thumbq.v1.job_pb2 import Result
from thumbq.v1.queue_pb2 import (
    CallTogetherRequest,
    CallTogetherResponse,
    CompleteJobRequest,
    DequeueJobRequest,
    EnqueueJobRequest,
    FailJobRequest,
    ReportResultsRequest,
)
from thumbq.v1.queue_pb2_grpc import QueueServiceStub
from thumbq_gateway.http.errors import Refusal, refused, refused_by_server
from thumbq_gateway.http.requests.caller import metadata_of_caller, name_of_caller
from thumbq_gateway.metrics import RequestMetrics

TIMEOUT = 10.0  # seconds
MOST_CALLS = 500  # of a message
LARGEST_CALL = 8 * 1024  # bytes; so the largest message has 4 MB, and the server takes 4 MiB
_PATIENCE = 0.25  # seconds after which the next message leaves, though the last one is not answered
_LAST_SECONDS = 1.0  # for calls that are under way when the gateway stops
_CODES = {code.value[0]: code for code in grpc.StatusCode}
_VERBS: Mapping[type[Message], str] = {
    EnqueueJobRequest: "enqueue_job",
    DequeueJobRequest: "dequeue_job",
    CompleteJobRequest: "complete_job",
    FailJobRequest: "fail_job",
}


class Together:
    """The calls of all kinds, each kind with its own queue."""

    def __init__(self, channel: grpc.aio.Channel, metrics: RequestMetrics) -> None:
        self._server = QueueServiceStub(channel)
        self._metrics = metrics
        self._tasks: set[asyncio.Task[None]] = set()
        self._kinds = {
            request_class.DESCRIPTOR.full_name: Kind(verb, request_class.__name__.removesuffix("Request"), self)
            for request_class, verb in _VERBS.items()
        }

    def kind_of(self, request_type: Descriptor) -> "Kind | None":
        """Return the queue of the calls that this message asks for; None: they leave alone."""
        return self._kinds.get(request_type.full_name)

    async def call(self, request: Message) -> Any:
        """Return the answer to a call of one of the kinds. Raises Refusal."""
        return await self._kinds[request.DESCRIPTOR.full_name](request)

    async def ask(self, verb: str, request: CallTogetherRequest) -> CallTogetherResponse:
        """Send a message of calls. Raises AioRpcError."""
        self._metrics.together.labels(verb).observe(len(request.calls))
        return await self._server.CallTogether(request, timeout=TIMEOUT)

    async def ask_alone(self, method: str, request: Message) -> Any:
        """Send one call. Raises AioRpcError."""
        return await getattr(self._server, method)(request, timeout=TIMEOUT, metadata=metadata_of_caller())

    def give_back(self, answers: Iterable[Any]) -> None:
        """Release the jobs in answers that reach no caller."""
        tokens = [answer.job.lease_token for answer in answers if answer.HasField("job")]
        if tokens:
            self.spawn(self._release(tokens))

    async def _release(self, tokens: list[str]) -> None:
        results = [Result(lease_token=token, release=Result.Release()) for token in tokens]
        with suppress(grpc.aio.AioRpcError):  # their leases run out
            await self._server.ReportResults(ReportResultsRequest(results=results), timeout=TIMEOUT)

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Do `work` beside everything else."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def settle(self) -> None:
        """Let what is under way come to its end, or cancel it after a moment."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=_LAST_SECONDS)
        while self._tasks:
            for task in self._tasks:
                task.cancel()
            await asyncio.wait(self._tasks)


class Caller(NamedTuple):
    """A call that waits, and where its answer goes. The answer is cancelled when its caller has hung up."""

    request: Any
    answer: asyncio.Future[Any]
    counted_as: str


class Kind:
    """The calls of one kind. The first leaves at once, with those that came in the same moment."""

    def __init__(self, verb: str, method: str, together: Together) -> None:
        """`method` does alone what `verb` does among others."""
        self._verb = verb
        self._method = method
        self._claims = verb == "dequeue_job"
        self._together = together
        self._waiting: deque[Caller] = deque()
        # The next message leaves then. None: nothing is under way.
        self._leaving: asyncio.Handle | None = None

    async def __call__(self, request: Message) -> Any:
        """Return the answer to one call. Raises Refusal."""
        if request.ByteSize() > LARGEST_CALL:
            try:
                return await self._together.ask_alone(self._method, request)
            except grpc.aio.AioRpcError as error:
                raise refused_by_server(error) from None
        loop = asyncio.get_running_loop()
        caller = Caller(request, loop.create_future(), name_of_caller() if self._claims else "")
        self._waiting.append(caller)
        if self._leaving is None:
            self._leaving = loop.call_soon(self._leave)
        try:
            return await caller.answer
        except asyncio.CancelledError:
            if self._claims and not caller.answer.cancelled() and not caller.answer.exception():
                self._together.give_back([caller.answer.result()])
            raise

    def _leave(self) -> None:
        callers: list[Caller] = []
        while self._waiting and len(callers) < MOST_CALLS:
            caller = self._waiting.popleft()
            if not caller.answer.done():
                callers.append(caller)
        if callers:
            self._leaving = asyncio.get_running_loop().call_later(_PATIENCE, self._leave)
            self._together.spawn(self._send(callers, self._leaving))
        else:
            self._leaving = None

    async def _send(self, callers: list[Caller], next_leaving: asyncio.Handle) -> None:
        try:
            request = CallTogetherRequest()
            for caller in callers:
                call = request.calls.add(caller=caller.counted_as)
                getattr(call, self._verb).CopyFrom(caller.request)
            response = await self._together.ask(self._verb, request)
            self._answer(callers, response)
        except grpc.aio.AioRpcError as error:
            _refuse(callers, refused_by_server(error))
        except Exception:  # noqa: BLE001 - it is logged; without an answer the callers would wait forever
            _refuse(callers, refused(grpc.StatusCode.UNKNOWN, "the answers do not fit the calls"))
        except asyncio.CancelledError:
            _refuse(callers, Refusal(grpc.StatusCode.UNAVAILABLE, "The gateway is stopping. Try again."))
            raise
        finally:
            if self._leaving is next_leaving:
                next_leaving.cancel()
                self._leave()

    def _answer(self, callers: list[Caller], response: CallTogetherResponse) -> None:
        in_vain = []
        for caller, answer in zip(callers, response.answers, strict=True):
            if caller.answer.done():
                in_vain.append(answer)
            elif answer.HasField("error"):
                error = answer.error
                told = max(1, error.retry_after.seconds)
                caller.answer.set_exception(refused(_CODES[error.code], error.message, told))
            else:
                caller.answer.set_result(getattr(answer, self._verb))
        if self._claims and in_vain:
            self._together.give_back(answer.dequeue_job for answer in in_vain)


def _refuse(callers: list[Caller], refusal: Refusal) -> None:
    for caller in callers:
        if not caller.answer.done():
            caller.answer.set_exception(copy(refusal))
