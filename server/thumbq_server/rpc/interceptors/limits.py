"""Stands before every method: callers that call too often are refused, and told when to come back."""

import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractContextManager, aclosing, contextmanager, nullcontext
from typing import Any
from urllib.parse import unquote

import grpc

from thumbq_runtime.access.on_behalf import heard
from thumbq_runtime.limits.bounds import Bounds
from thumbq_runtime.limits.callers import Network, counted_as, is_within
from thumbq_runtime.limits.calls import POLLS, kind_of
from thumbq_runtime.limits.rates import Kind, Rates, TooOften
from thumbq_server.access.door import caller_of_call
from thumbq_server.access.keyring import GATEWAY
from thumbq_server.access.methods import Handler, serve_of, served_by
from thumbq_server.rpc.counted import count_for

_OURS = "/thumbq."  # of the other services, the streams are counted
_TOGETHER = {"enqueue_job": Kind.ENQUEUES, "dequeue_job": Kind.POLLS}
_NO_PLACE = nullcontext()
# Every stream that is not named here is a subscription.
_STREAMS = {"StreamJobs": Kind.WORK_STREAMS, "EnqueueStream": Kind.ENQUEUE_STREAMS}


class Limits(grpc.aio.ServerInterceptor):
    """Counts calls and streams by the caller's key, or else by its address, and polls by the worker too.

    Gateways, and programs that come by a Unix socket, are not counted: a gateway counts its own callers.
    """

    def __init__(
        self,
        rates: Rates,
        bounds: Bounds,
        gateways: tuple[Network, ...],
        refused_claim: Callable[[Kind, float], None],
    ) -> None:
        """`gateways`: where calls come from that are not counted. The door stands before this.

        `refused_claim` is told the limit when a worker that asks for jobs is refused, and when it may return.
        """
        self._refused_claim = refused_claim
        self._rates = rates
        self._bounds = bounds
        self._gateways = gateways

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Handler | None]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Handler | None:
        """Return the method with the count before it."""
        handler: Any = await continuation(handler_call_details)
        method = handler_call_details.method
        if handler is None:
            return None
        is_stream = handler.request_streaming or handler.response_streaming
        if not is_stream and not method.startswith(_OURS):
            return handler
        rpc, serve = method.rpartition("/")[2], serve_of(handler)
        if inspect.isasyncgenfunction(serve):
            return served_by(self._generator(rpc, serve), handler)
        return served_by(self._stream(rpc, serve) if is_stream else self._call(rpc, serve), handler)

    def _call(self, rpc: str, serve: Any) -> Any:
        kind = kind_of(rpc)
        if rpc in POLLS:
            return self._poll(serve)
        if rpc == "CallTogether":
            return self._together(serve)
        if kind is None:
            return serve

        async def call(request: Any, context: Any) -> Any:
            caller = self._caller(context)
            if caller:
                await self._rates.admit((kind, caller))
            with self._waiting(request, caller):
                return await serve(request, context)

        return call

    def _poll(self, serve: Any) -> Any:
        async def poll(request: Any, context: Any) -> Any:
            caller = self._caller(context)
            if not caller:
                _count_for_whom_a_gateway_calls(context)
                return await serve(request, context)
            counted = (Kind.WORKER_POLLS, f"{caller} {request.worker_id[:200]}"), (Kind.POLLS, caller)
            with self._claim():
                await self._rates.admit(*counted)
                place = self._waiting(request, caller)
            with place:
                answer = await serve(request, context)
            if answer.ListFields():
                self._rates.give_back(*counted)
            return answer

        return poll

    def _together(self, serve: Any) -> Any:
        async def together(request: Any, context: Any) -> Any:
            caller = self._caller(context)
            if not caller:
                return await serve(request, context)
            kinds = [_TOGETHER.get(call.WhichOneof("call") or "") for call in request.calls]
            with self._claim() if Kind.POLLS in kinds else nullcontext():
                await self._rates.admit(*((kind, caller) for kind in kinds if kind))
            response = await serve(request, context)
            with_job = sum(answer.dequeue_job.HasField("job") for answer in response.answers)
            self._rates.give_back(*[(Kind.POLLS, caller)] * with_job)
            return response

        return together

    def _stream(self, rpc: str, serve: Any) -> Any:
        async def stream(requests: Any, context: Any) -> Any:
            caller = self._caller(context)
            with self._claim() if rpc == "StreamJobs" else nullcontext():
                if caller:
                    await self._rates.admit((Kind.READS, caller))
                place = self._place(rpc, caller)
            if caller and rpc == "EnqueueStream":
                requests = self._at_its_rate(requests, caller)
            with place:
                return await serve(requests, context)

        return stream

    async def _at_its_rate(self, requests: AsyncIterator[Any], caller: str) -> AsyncIterator[Any]:
        """Yield requests no faster than the caller may enqueue: it waits until they are read."""
        async for request in requests:
            await self._rates.pace(Kind.ENQUEUES, caller)
            yield request

    def _generator(self, rpc: str, serve: Any) -> Any:
        async def generator(request: Any, context: Any) -> AsyncIterator[Any]:
            caller = self._caller(context)
            if caller:
                await self._rates.admit((Kind.READS, caller))
            with self._place(rpc, caller):
                async with aclosing(serve(request, context)) as answers:
                    async for answer in answers:
                        yield answer

        return generator

    @contextmanager
    def _claim(self) -> Iterator[None]:
        """Tell of the refusal of a worker that asks for jobs."""
        try:
            yield
        except TooOften as refusal:
            if refusal.kind is not Kind.ENQUEUES:
                self._refused_claim(refusal.kind, refusal.retry_after)
            raise

    def _place(self, rpc: str, caller: str) -> AbstractContextManager[object]:
        """Return what holds the caller's place for a stream. Raises TooMany."""
        if not caller:
            return _NO_PLACE
        return self._bounds.take(caller, Kind.STREAMS, _STREAMS.get(rpc, Kind.SUBSCRIPTIONS))

    def _waiting(self, request: Any, caller: str) -> AbstractContextManager[object]:
        """Return what holds the caller's place for a call that may wait. Raises TooMany."""
        if not caller or "wait" not in request.DESCRIPTOR.fields_by_name or not request.wait.ToNanoseconds():
            return _NO_PLACE
        return self._bounds.take(caller, Kind.WAITING_CALLS)

    def _caller(self, context: Any) -> str:
        """Return whom a call counts for, and remember it; "" when it is not counted."""
        family, _, rest = context.peer().partition(":")
        if family == "unix":
            return ""
        address = unquote(rest.rpartition(":")[0])
        if is_within(address, self._gateways):
            return ""
        caller = caller_of_call()
        if caller is GATEWAY:
            return ""
        counted_for = counted_as(caller.prefix, address)
        count_for(counted_for)
        return counted_for


def _count_for_whom_a_gateway_calls(context: Any) -> None:
    """Let the jobs of this call count for whom the gateway tells; only a gateway is believed."""
    told = heard(dict(context.invocation_metadata() or ())) if caller_of_call() is GATEWAY else None
    if told:
        count_for(counted_as(told.prefix, told.address))
