"""A worker takes jobs from the queue, runs a handler on each, and reports the results."""

from __future__ import annotations

import asyncio
import importlib.metadata
import inspect
import logging
import os
import signal
import socket
import threading
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from types import TracebackType
from typing import Any, Self

import grpc

from thumbq.connection import Link, describe, open_channel
from thumbq.handler import Handler
from thumbq.outbox import Outbox
from thumbq.slots import Slots
from thumbq.stream import ServerSilent, WorkerStream
from thumbq.v1.queue_pb2 import StreamJobsRequest, StreamJobsResponse

_logger = logging.getLogger("thumbq")

# Seconds for the last results to reach the server after the last handler has ended.
_LAST_RESULTS_LIMIT = 5.0
# The same after a second signal.
_HURRIED_LIMIT = 1.0
# Seconds between attempts to reach the server with the last results.
_STOPPING_PAUSE = 0.2
_PROGRESS_INTERVAL = 60.0
# Before the first Welcome, these mean that the worker is configured wrongly, and a retry does not help.
_REFUSALS = {
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.UNAUTHENTICATED,
    grpc.StatusCode.PERMISSION_DENIED,
    grpc.StatusCode.UNIMPLEMENTED,
}


class Worker:
    """Runs a handler on jobs, up to `concurrency` at a time, and holds up to `prefetch` more that wait.

        async with Worker("localhost:50051", worker_id="render-1", concurrency=8) as worker:
            await worker.run(handler)

    The worker keeps its leases alive, reconnects by itself, and then resumes its jobs. `worker_id` (1 to 100
    characters) defaults to host name and process id. When the worker stops, running handlers have `grace`
    seconds to finish; then they are cancelled and their jobs are released.
    """

    def __init__(
        self,
        target: str,
        *,
        worker_id: str | None = None,
        concurrency: int = 8,
        prefetch: int = 0,
        grace: float = 25.0,
        labels: Mapping[str, str] | None = None,
    ) -> None:
        if concurrency < 1 or prefetch < 0 or concurrency + prefetch > 10_000:
            raise ValueError("concurrency must be 1 or more, prefetch 0 or more, and both together at most 10,000")
        self.worker_id = worker_id or f"{socket.gethostname()[:80]}-{os.getpid()}"
        self._target = target
        self._concurrency = concurrency
        self._prefetch = prefetch
        self._grace = grace
        self._hello = StreamJobsRequest.Hello(
            worker_id=self.worker_id, labels=labels, version=f"thumbq {importlib.metadata.version('thumbq')}"
        )
        self._link = Link(target)
        self._wake = asyncio.Event()
        self._begun = False
        self._stopping = asyncio.Event()
        self._aborting = asyncio.Event()
        self._ended = asyncio.Event()
        self._stream: WorkerStream | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        if self._begun:
            await self._ended.wait()

    def stop(self) -> None:
        """End `run`: take no more jobs, and give the running handlers `grace` seconds to finish."""
        self._stopping.set()

    async def run(self, handler: Handler, *, handle_signals: bool = True) -> None:
        """Work until `stop`, or, with `handle_signals` and in the main thread, until SIGTERM or SIGINT.

        `handler` is an async function of one Job. It returns a Thumbnail, or raises JobFailed or JobReleased;
        any other exception counts as a failed attempt. A second signal ends the worker at once.

        While the server is away, the worker waits for it without a limit. Raises AioRpcError only when the server
        refuses the worker from the start.
        """
        _require_async(handler)
        if self._begun:
            raise RuntimeError("a Worker runs once; make a new one")
        self._begun = True
        outbox = Outbox(self._wake)
        slots = Slots(handler, self._concurrency, outbox)
        connection = asyncio.create_task(self._stay_connected(slots, outbox))
        progress = asyncio.create_task(_log_progress(slots))
        try:
            with _stop_signals(self._signalled) if handle_signals else nullcontext():
                await self._work(slots, connection)
        except BaseException:
            # Cancelled from outside, or crashed: the held jobs still go back.
            await self._wind_up(slots, connection, _HURRIED_LIMIT)
            raise
        finally:
            progress.cancel()
            connection.cancel()
            await slots.end()
            await asyncio.gather(connection, progress, return_exceptions=True)
            if lost := outbox.unacknowledged:
                _logger.warning("%d results were not confirmed by the server; their leases will run out", lost)
            _logger.info("Worker ended: %d jobs completed, %d failed", slots.completed, slots.failed)
            self._ended.set()

    def _signalled(self) -> None:
        if self._stopping.is_set():
            self._aborting.set()
        self.stop()

    async def _work(self, slots: Slots, connection: asyncio.Task[None]) -> None:
        await _first(self._stopping.wait(), connection, slots.crashed)
        _logger.info("Stopping with %d jobs in hand", len(slots.held))
        slots.close()
        if self._stream:
            self._stream.drain()
        await _first(slots.finished(), self._aborting.wait(), slots.crashed, timeout=self._grace)
        await self._wind_up(slots, connection, _HURRIED_LIMIT if self._aborting.is_set() else _LAST_RESULTS_LIMIT)

    async def _wind_up(self, slots: Slots, connection: asyncio.Task[None], seconds: float) -> None:
        """Release what is still held, and wait up to `seconds` until the last results have arrived."""
        self.stop()
        slots.abort()
        if self._stream:
            self._stream.drain()
        await asyncio.wait((connection,), timeout=seconds)

    async def _stay_connected(self, slots: Slots, outbox: Outbox) -> None:
        """Keep a stream open until the worker stops and has nothing more to send."""
        window = self._concurrency + self._prefetch
        while not (self._stopping.is_set() and outbox.empty and not slots.held):
            outbox.resend()
            stream = WorkerStream(self._hello, window, slots, outbox, self._wake, self._welcomed)
            if self._stopping.is_set():
                stream.drain()
            self._stream = stream
            try:
                async with open_channel(self._target) as channel:
                    await stream.run(channel)
                reason = "it ended the stream"
            except grpc.aio.AioRpcError as error:
                if error.code() in _REFUSALS and not self._hello.session_id:
                    raise
                reason = describe(error)
            except ServerSilent:
                reason = "it says nothing"
            finally:
                self._stream = None
            if stream.reconnect_after is not None:
                _logger.info("%s asked to reconnect", self._target)
                await self._pause(max(stream.reconnect_after, self._link.pause()))
            elif not self._stopping.is_set():
                await self._pause(self._link.down(reason))
            elif slots.held or not outbox.empty:
                await asyncio.sleep(_STOPPING_PAUSE)

    def _welcomed(self, welcome: StreamJobsResponse.Welcome) -> None:
        if not self._hello.session_id:
            _logger.info("Connected to %s as %s", self._target, self.worker_id)
        self._hello.session_id = welcome.session_id
        self._link.up()

    async def _pause(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stopping.wait()


async def _first(*awaitables: Coroutine[Any, Any, object] | asyncio.Future[Any], timeout: float | None = None) -> None:
    """Wait for the first of them, and raise its exception if it has one."""
    futures = [asyncio.ensure_future(awaitable) for awaitable in awaitables]
    try:
        done, _ = await asyncio.wait(futures, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for future, awaitable in zip(futures, awaitables, strict=True):
            if future is not awaitable:
                future.cancel()
    for future in done:
        future.result()


async def _log_progress(slots: Slots) -> None:
    logged = (0, 0)
    while True:
        await asyncio.sleep(_PROGRESS_INTERVAL)
        if logged != (slots.completed, slots.failed):
            logged = (slots.completed, slots.failed)
            _logger.info("%d jobs completed, %d failed, %d in hand", *logged, len(slots.held))


def _require_async(handler: Handler) -> None:
    function = inspect.unwrap(handler)
    call = getattr(function, "__call__", None)  # noqa: B004 - whether the call is async, not whether there is one
    if not (inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(call)):
        raise TypeError("the handler must be an async function; use asyncio.to_thread for work that blocks")


@contextmanager
def _stop_signals(stop: Callable[[], None]) -> Iterator[None]:
    """Call `stop` on SIGTERM and SIGINT; afterwards, restore the earlier handlers."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    loop = asyncio.get_running_loop()
    previous = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    for number in previous:
        loop.add_signal_handler(number, stop)
    try:
        yield
    finally:
        for number, handler in previous.items():
            loop.remove_signal_handler(number)
            signal.signal(number, handler)
