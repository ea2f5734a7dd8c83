"""What stands before every method: requests are bounded and readable, and nothing unexpected leaks or vanishes."""

import inspect
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractContextManager, aclosing, contextmanager
from functools import partial
from typing import Any

import grpc

from thumbq_server.access.retry_info import when_to_return
from thumbq_server.metrics.observer import Observer
from thumbq_server.rpc.bounds import reader
from thumbq_server.rpc.errors import status_of_any

Handler = Any  # grpc.RpcMethodHandler, which is generic for the type checker only
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
    stream_in, stream_out = handler.request_streaming, handler.response_streaming
    kind = f"{'stream' if stream_in else 'unary'}_{'stream' if stream_out else 'unary'}"
    serve = getattr(handler, kind)
    guard = _generator if inspect.isasyncgenfunction(serve) else _call
    watch = _watched_stream if stream_in or stream_out else _watched_call
    make = getattr(grpc, f"{kind}_rpc_method_handler")
    made: Handler = make(
        guard(method, serve, _stream_reader(read) if stream_in else read, partial(watch, observer, method)),
        request_deserializer=None,
        response_serializer=handler.response_serializer,
    )
    return made


def _stream_reader(read: Callable[[bytes], Any]) -> Callable[[AsyncIterator[bytes]], AsyncIterator[Any]]:
    async def read_all(messages: AsyncIterator[bytes]) -> AsyncIterator[Any]:
        async for message in messages:
            yield read(message)

    return read_all


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


def _call(method: str, serve: Any, read: Callable[[Any], Any], watch: _Watch) -> Any:
    async def guarded(request: Any, context: Any) -> Any:
        with watch(context):
            try:
                return await serve(read(request), context)
            except Exception as error:  # noqa: BLE001 - that is what it is for
                await _answer(method, error, context)

    return guarded


def _generator(method: str, serve: Any, read: Callable[[Any], Any], watch: _Watch) -> Any:
    async def guarded(request: Any, context: Any) -> AsyncIterator[Any]:
        with watch(context):
            try:
                async with aclosing(serve(read(request), context)) as answers:
                    async for answer in answers:
                        yield answer
            except Exception as error:  # noqa: BLE001 - that is what it is for
                await _answer(method, error, context)

    return guarded


async def _answer(method: str, error: Exception, context: Any) -> None:
    """End the call with the status that belongs to `error`."""
    if isinstance(error, grpc.aio.BaseError):
        raise error  # it ended already, or its client is gone
    await context.abort(*status_of_any(method, error), trailing_metadata=when_to_return(error))
