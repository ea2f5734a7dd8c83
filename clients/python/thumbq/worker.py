"""A worker takes jobs from the queue, runs a handler on each, and reports the results."""

from __future__ import annotations

import asyncio
import importlib.metadata
import logging
import os
import signal
import socket
import threading
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from types import TracebackType
from typing import Any, Self, cast

import grpc

from thumbq import spans
from thumbq.client.errors import Unsupported, error_of
from thumbq.log_events import event
from thumbq.network import Network
from thumbq.stream import ServerTooOld
from thumbq.tls import Tls
from thumbq.v1.queue_pb2 import StreamJobsRequest
from thumbq.working.attempt_spans import AttemptSpans
from thumbq.working.handler import AsyncHandler, BlockingHandler, Handler, is_async
from thumbq.working.kinds import BlockingHandlerOfKinds, HandlerOfKinds, check_handlers
from thumbq.working.processes import Processes
from thumbq.working.progress import told_to
from thumbq.working.slots import Slots
from thumbq.working.threads import Threads
from thumbq.working.watchdog import Watchdog

_logger = logging.getLogger("thumbq")

# Seconds for the last results to reach the server after the last handler has ended.
_LAST_RESULTS_LIMIT = 5.0
# The same after a second signal.
_HURRIED_LIMIT = 1.0
# Seconds for cancelled handlers to end before their jobs go back without them.
_CANCELLED_LIMIT = 0.5
_PROGRESS_INTERVAL = 60.0


class Worker:
    """Runs a handler on jobs, up to `concurrency` at a time, and holds up to `prefetch` more that wait.

        async with Worker("localhost:50051", worker_id="render-1", concurrency=8) as worker:
            await worker.run(handler)

    The worker keeps its leases alive, reconnects by itself, and then resumes its jobs. `worker_id` (1 to 100
    characters) defaults to host name and process id. When the worker stops, running handlers have `grace`
    seconds to finish; then they are cancelled and their jobs are released.

    `api_key` is what a server asks for that other machines reach; without one, THUMBQ_API_KEY or the file that
    THUMBQ_API_KEY_FILE names counts.

    An attempt fails when its handler has not ended after `time_limit` seconds.
    """

    def __init__(
        self,
        target: str,
        *,
        worker_id: str | None = None,
        concurrency: int = 8,
        prefetch: int = 0,
        grace: float = 25.0,
        time_limit: float = 3600.0,
        labels: Mapping[str, str] | None = None,
        api_key: str | None = None,
        tls: Tls | None = None,
    ) -> None:
        if concurrency < 1 or prefetch < 0 or concurrency + prefetch > 10_000:
            raise ValueError("concurrency must be 1 or more, prefetch 0 or more, and both together at most 10,000")
        if time_limit <= 0:
            raise ValueError("time_limit must be more than 0 seconds")
        self.worker_id = worker_id or f"{socket.gethostname()[:80]}-{os.getpid()}"
        self._target = target
        self._api_key = api_key
        self._tls = tls
        self._concurrency = concurrency
        self._prefetch = prefetch
        self._grace = grace
        self._time_limit = time_limit
        self._hello = StreamJobsRequest.Hello(
            worker_id=self.worker_id,
            labels=labels,
            version=f"thumbq {importlib.metadata.version('thumbq')}",
            columns=True,
            acks_with_jobs=True,
        )
        self._begun = False
        self._stopping = asyncio.Event()
        self._aborting = asyncio.Event()
        self._ended = asyncio.Event()

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

    async def run(
        self, handler: Handler | Mapping[str, Handler], *, processes: bool = False, handle_signals: bool = True
    ) -> None:
        """Work until `stop`, or, with `handle_signals` and in the main thread, until SIGTERM or SIGINT.

        `handler` is a function of one Job, async or not. It returns a Thumbnail, or raises JobFailed or JobReleased;
        any other exception counts as a failed attempt, and KeyboardInterrupt ends the worker, too. A handler that is
        not async runs in a thread. With `processes` each slot has a process for its handlers, which must be functions
        of a module. A second signal ends the worker at once.

        A handler for each kind of job, such as {"Model": render, "Sound": draw_wave}, takes these kinds and no others;
        a function alone takes "Model".

        While the server is away, the worker waits for it without a limit. Raises ThumbqError only when the server
        refuses the worker from the start, or does not know kinds and was asked for others than "Model" (Unsupported).
        """
        if self._begun:
            raise RuntimeError("a Worker runs once; make a new one")
        with _runnable(handler, processes) as runnable:
            self._begun = True
            # A worker that names no kinds takes Models, from servers of every version.
            if isinstance(handler, Mapping) and set(handler) != {"Model"}:
                self._hello.kinds.extend(sorted(handler))
            try:
                await self._run(runnable, handle_signals)
            except grpc.aio.AioRpcError as error:
                raise error_of(error, self._target) from None
            except ServerTooOld as error:
                raise Unsupported(f"{self._target}: {error}") from None
            finally:
                self._ended.set()

    async def _run(self, handler: AsyncHandler, handle_signals: bool) -> None:
        tracer = spans.tracer("thumbq-worker")
        network = Network(self._target, self._hello, self._concurrency + self._prefetch, self._api_key, self._tls)
        if tracer:
            attempts = AttemptSpans(tracer, self.worker_id)
            network.outbox.attempts, handler = attempts, attempts.around(handler)
        with told_to(network.progress.tell):
            slots = Slots(handler, self._concurrency, network.ledger.handover)
        watchdog = Watchdog(asyncio.get_running_loop(), slots, self._time_limit)
        progress = asyncio.create_task(_log_progress(slots, network))
        network.start(slots, watchdog.watch)
        try:
            with _stop_signals(self._signalled) if handle_signals else nullcontext():
                await self._work(slots, network)
        except BaseException:
            # Cancelled from outside, or crashed: the held jobs still go back.
            await self._wind_up(slots, network, _HURRIED_LIMIT)
            raise
        finally:
            progress.cancel()
            await slots.end()
            await network.cancel()
            await asyncio.gather(progress, return_exceptions=True)
            if lost := network.outbox.unacknowledged:
                _logger.warning(
                    "%d results were not confirmed by the server; their leases will run out",
                    lost,
                    extra=event("results.unconfirmed", count=lost),
                )
            _logger.info(
                "Worker ended: %d jobs completed, %d failed, %s",
                *_counts(slots, network),
                network.outbox.refused,
                extra=event("worker.ended"),
            )

    def _signalled(self) -> None:
        if self._stopping.is_set():
            self._aborting.set()
        self.stop()

    async def _work(self, slots: Slots, network: Network) -> None:
        await _first(self._stopping.wait(), network.ended, slots.crashed)
        _logger.info("Stopping with %d jobs in hand", len(slots.held), extra=event("worker.stopping"))
        slots.close()
        network.stop()
        await _first(slots.finished(), self._aborting.wait(), slots.crashed, timeout=self._grace)
        await self._wind_up(slots, network, _HURRIED_LIMIT if self._aborting.is_set() else _LAST_RESULTS_LIMIT)

    async def _wind_up(self, slots: Slots, network: Network, seconds: float) -> None:
        """Release what is still held, and wait up to `seconds` until the last results have arrived."""
        self.stop()
        slots.abort()
        network.stop()
        await _first(slots.finished(), timeout=_CANCELLED_LIMIT)
        if slots.held:
            network.abandon()
        await asyncio.wait((network.ended,), timeout=seconds)


@contextmanager
def _runnable(handler: Handler | Mapping[str, Handler], processes: bool) -> Iterator[AsyncHandler]:
    """Yield the handler as an async function; its threads and processes end with the block."""
    if isinstance(handler, Mapping):
        check_handlers(handler)
        handler = BlockingHandlerOfKinds(handler) if processes else HandlerOfKinds(handler)
    if not callable(handler):
        raise TypeError(f"the handler must be a function of a Job, not {type(handler).__name__}")
    if processes:
        with Processes(handler) as function:
            yield Threads(function)
    elif is_async(handler):
        yield handler
    else:
        yield Threads(cast("BlockingHandler", handler))


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


def _counts(slots: Slots, network: Network) -> tuple[int, int]:
    """Return how many jobs were completed, and how many failed, without the results that the server refused."""
    outbox = network.outbox
    completed = slots.completed - outbox.unfit - outbox.refused.completed
    return completed, slots.failed + outbox.unfit - outbox.refused.failed


async def _log_progress(slots: Slots, network: Network) -> None:
    logged = (0, 0)
    while True:
        await asyncio.sleep(_PROGRESS_INTERVAL)
        if logged != (counts := _counts(slots, network)):
            logged = counts
            _logger.info(
                "%d jobs completed, %d failed, %d in hand", *logged, len(slots.held), extra=event("worker.progress")
            )


@contextmanager
def _stop_signals(stop: Callable[[], None]) -> Iterator[None]:
    """Call `stop` on SIGTERM and SIGINT; afterwards, restore the earlier handlers."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    loop = asyncio.get_running_loop()
    previous = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    for number in previous:
        try:
            loop.add_signal_handler(number, stop)
        except NotImplementedError:  # on Windows
            signal.signal(number, lambda *_: loop.call_soon_threadsafe(stop))
    try:
        yield
    finally:
        for number, handler in previous.items():
            with suppress(NotImplementedError):
                loop.remove_signal_handler(number)
            signal.signal(number, handler)
