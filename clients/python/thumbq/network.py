"""Keeps a worker's stream open, on a thread and an event loop beside the handlers'."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress

import grpc

from thumbq.connection import Link, UnreadableKey, describe, told_to_wait
from thumbq.log_events import event
from thumbq.outbox import Outbox
from thumbq.stream import ServerSilent, ServerTooOld, WorkerStream
from thumbq.tls import Tls, UnusableCertificate
from thumbq.v1.queue_pb2 import StreamJobsRequest, StreamJobsResponse
from thumbq.working.ledger import Handlers, Ledger
from thumbq.working.network_thread import NetworkThread
from thumbq.working.progress import ProgressOutbox

_logger = logging.getLogger("thumbq")

# Seconds between attempts to reach the server with the last results.
_STOPPING_PAUSE = 0.2
# Before the first Welcome, these mean that the worker is configured wrongly, and a retry does not help.
_REFUSALS = {
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.UNAUTHENTICATED,
    grpc.StatusCode.PERMISSION_DENIED,
    grpc.StatusCode.UNIMPLEMENTED,
}
# So does one of these. Later they pass: files are replaced one after another, and of several servers one may be older.
_WRONG_HERE = (ServerTooOld, UnreadableKey, UnusableCertificate)

Watch = Callable[[Ledger], Awaitable[None]]


class Network:
    """Talks to the server beside the handlers' loop, which a handler may block.

    The caller's loop calls `start`, `stop`, `abandon` and `cancel`; everything else runs on the thread.
    """

    def __init__(
        self, target: str, hello: StreamJobsRequest.Hello, window: int, api_key: str | None, tls: Tls | None
    ) -> None:
        self._target = target
        self._api_key = api_key
        self._tls = tls
        self._hello = hello
        self._window = window
        self._link = Link(target)
        self._caller = asyncio.get_running_loop()
        self._wake = asyncio.Event()
        # The same kind of loop as the caller's, which may be uvloop's.
        self._thread = NetworkThread.join(type(self._caller))
        self.outbox = Outbox(self._wake)
        self.ledger = Ledger(self.outbox, self._wake, self._thread.loop)
        self.progress = ProgressOutbox(self._wake, self._thread.loop)
        self._stopping = asyncio.Event()
        self._stream: WorkerStream | None = None
        self._task: asyncio.Task[None] | None = None
        # Done when there is nothing more to do on the thread; its exception is the server's refusal.
        self.ended: asyncio.Future[None] = self._caller.create_future()

    def start(self, handlers: Handlers, watch: Watch) -> None:
        """Connect, and hand jobs to `handlers`. `watch` runs beside it on the same thread."""
        self.ledger.connect(handlers, self._caller)
        self._thread.run(self._main(watch), self._ended_there)

    def stop(self) -> None:
        """Take no more jobs, and end as soon as all results are acknowledged."""
        self._thread.post(self._stop)

    def abandon(self) -> None:
        """Give back the jobs whose handlers do not end."""
        self._thread.post(self.ledger.abandon)

    async def cancel(self) -> None:
        """End now, and wait for it."""
        self._thread.post(self._cancel)
        await asyncio.wait((self.ended,))
        # Whoever waited for the end has seen the exception; the last one need not.
        self.ended.exception()

    def _ended_there(self, error: BaseException | None) -> None:
        with suppress(RuntimeError):  # the caller's loop may be closed
            self._caller.call_soon_threadsafe(self._end, error)

    def _end(self, error: BaseException | None) -> None:
        if error is None:
            self.ended.set_result(None)
        else:
            self.ended.set_exception(error)

    async def _main(self, watch: Watch) -> None:
        self._task = asyncio.current_task()
        watching = asyncio.ensure_future(watch(self.ledger))
        try:
            await self._stay_connected()
        finally:
            watching.cancel()
            await asyncio.wait((watching,))

    def _stop(self) -> None:
        self._stopping.set()
        if self._stream:
            self._stream.drain()

    def _cancel(self) -> None:
        self._stopping.set()
        if self._task:
            self._task.cancel()

    async def _stay_connected(self) -> None:
        """Keep a stream open until the worker stops and has nothing more to send."""
        ledger, outbox = self.ledger, self.outbox
        while not (self._stopping.is_set() and outbox.empty and not ledger.held):
            outbox.resend()
            stream = WorkerStream(self._hello, self._window, ledger, outbox, self.progress, self._wake, self._welcomed)
            if self._stopping.is_set():
                stream.drain()
            self._stream = stream
            try:
                async with self._thread.channels.join(self._target, self._api_key, self._tls) as channel:
                    await stream.run(channel)
                reason, told = "it ended the stream", 0.0
            except (grpc.aio.AioRpcError, ServerSilent, *_WRONG_HERE) as error:
                if self._is_refused(error):
                    raise
                reason, told = str(error), 0.0
                if isinstance(error, grpc.aio.AioRpcError):
                    reason, told = describe(error, self._target), told_to_wait(error)
            finally:
                self._stream = None
            if stream.reconnect_after is not None:
                _logger.info("%s asked to reconnect", self._target, extra=event("server.leaving"))
                await self._pause(max(stream.reconnect_after, self._link.pause()))
            elif not self._stopping.is_set():
                await self._pause(max(told, self._link.down(reason)))
            elif ledger.held or not outbox.empty:
                await asyncio.sleep(_STOPPING_PAUSE)

    def _is_refused(self, error: Exception) -> bool:
        """Return whether the worker is refused, or configured wrongly, from the start."""
        refused = isinstance(error, _WRONG_HERE)
        if isinstance(error, grpc.aio.AioRpcError):
            refused = error.code() in _REFUSALS
        return refused and not self._hello.session_id

    def _welcomed(self, welcome: StreamJobsResponse.Welcome) -> None:
        if not self._hello.session_id:
            worker_id = self._hello.worker_id
            about = event("worker.connected", worker_id=worker_id)
            _logger.info("Connected to %s as %s", self._target, worker_id, extra=about)
        self._hello.session_id = welcome.session_id
        self._link.up()

    async def _pause(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stopping.wait()
