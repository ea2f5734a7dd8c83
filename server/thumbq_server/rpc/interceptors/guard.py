"""What stands before every method: requests are bounded and readable, and nothing unexpected leaks or vanishes."""

import asyncio
import inspect
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractContextManager, aclosing, contextmanager
from functools import partial
from typing import Any

import grpc

from thumbq_server.access.methods import Handler, serve_of, served_by_bytes
from thumbq_server.access.retry_info import when_to_return
from thumbq_server.domain.refusals import Invalid
from thumbq_server.metrics.observer import Observer
from thumbq_server.rpc.errors import StreamEnded, status_of_any
from thumbq_server.rpc.interceptors.bounds import reader
from thumbq_server.rpc.streaming.writing import write

# Seconds for the message of a call, which may have 4 MiB.
ARRIVES_WITHIN = 60.0
_STATUSES = {code.value[0]: code.name for code in grpc.StatusCode}


class Guard(grpc.aio.ServerInterceptor):
    """Reads requests within their bounds, and answers whatever a method raises.

    A refusal becomes its status; any other exception is logged (`errors.status_of_any`).
    """

    def __init__(self, observer: Observer) -> None:
        self._observer = observer
        self._guarded: dict[str, Handler] = {}

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Handler | None]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Handler | None:
        """Return the guarded method, or None for one that does not exist."""
        method = handler_call_details.method
        if method not in self._guarded:
            handler = await continuation(handler_call_details)
            if handler is None:
                return None
            self._guarded[method] = _guarded(method, handler, self._observer)
        return self._guarded[method]


def _guarded(method: str, handler: Any, observer: Observer) -> Handler:
    read = reader(method, handler.request_deserializer)
    serve = serve_of(handler)
    guard = _generator if inspect.isasyncgenfunction(serve) else _call
    watch = _watched_stream if handler.request_streaming or handler.response_streaming else _watched_call
    take = _all_messages(read) if handler.request_streaming else _one_message(read)
    # As a stream, also where a caller sends one message: grpc would wait for that without an end, before the door.
    return served_by_bytes(guard(method, serve, take, partial(watch, observer, method)), handler)


# Returns the request of a call, or an iterator of them.
_Take = Callable[[AsyncIterator[bytes], Any], Awaitable[Any]]


def _all_messages(read: Callable[[bytes], Any]) -> _Take:
    async def read_all(messages: AsyncIterator[bytes]) -> AsyncIterator[Any]:
        async for message in messages:
            yield read(message)

    async def take(messages: AsyncIterator[bytes], _context: Any) -> AsyncIterator[Any]:
        return read_all(messages)

    return take


def _one_message(read: Callable[[bytes], Any]) -> _Take:
    async def take(_messages: AsyncIterator[bytes], context: Any) -> Any:
        try:
            async with asyncio.timeout(ARRIVES_WITHIN):
                message = await context.read()
        except TimeoutError:
            raise StreamEnded(grpc.StatusCode.DEADLINE_EXCEEDED, "the message of the call did not come") from None
        if message is grpc.aio.EOF:
            raise Invalid("the call has no message")
        return read(message)

    return take


_Watch = Callable[[Any], AbstractContextManager[None]]


@contextmanager
def _watched_call(observer: Observer, method: str, context: Any) -> Iterator[None]:
    began = time.perf_counter()
    status = "CANCELLED"
    try:
        yield
        status = "OK"
    except Exception:
        status = _STATUSES.get(context.code(), "UNKNOWN")
        raise
    finally:
        observer.called(_name(method), status, time.perf_counter() - began)


@contextmanager
def _watched_stream(observer: Observer, method: str, _context: Any) -> Iterator[None]:
    observer.streams(_name(method), 1)
    try:
        yield
    finally:
        observer.streams(_name(method), -1)


def _name(method: str) -> str:
    return method.rpartition("/")[2]


def _call(method: str, serve: Any, take: _Take, watch: _Watch) -> Any:
    async def guarded(messages: AsyncIterator[bytes], context: Any) -> Any:
        with watch(context):
            try:
                return await serve(await take(messages, context), context)
            except Exception as error:  # noqa: BLE001 - that is what it is for
                await _answer(method, error, context)

    return guarded


def _generator(method: str, serve: Any, take: _Take, watch: _Watch) -> Any:
    """Return a generator as a coroutine that writes: what ends a call then finds it in our own code, not in grpc's."""

    async def guarded(messages: AsyncIterator[bytes], context: Any) -> None:
        with watch(context):
            try:
                async with aclosing(serve(await take(messages, context), context)) as answers:
                    async for answer in answers:
                        await write(context, answer)
            except Exception as error:  # noqa: BLE001 - that is what it is for
                await _answer(method, error, context)

    return guarded


async def _answer(method: str, error: Exception, context: Any) -> None:
    """End the call with the status that belongs to `error`."""
    if isinstance(error, grpc.aio.BaseError):
        raise error  # it ended already, or its client is gone
    await context.abort(*status_of_any(method, error), trailing_metadata=when_to_return(error))
