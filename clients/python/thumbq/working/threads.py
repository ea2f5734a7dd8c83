"""Runs handlers that block, each in a thread."""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable
from contextvars import ContextVar, copy_context

from thumbq.outcome import Thumbnail
from thumbq.v1.job_pb2 import Job
from thumbq.working.handler import BlockingHandler, text_of


class Cancellation:
    """Tells a handler in a thread that its result is no longer wanted."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._on_set: Callable[[], object] | None = None
        self.is_set = False

    def set(self) -> None:
        """Tell it."""
        with self._lock:
            self.is_set = True
            if self._on_set:
                self._on_set()

    def on_set(self, call: Callable[[], object] | None) -> None:
        """Have `call` called when it is set, at once if it is set already; None takes that back."""
        with self._lock:
            self._on_set = call
            if call and self.is_set:
                call()


_NEVER = Cancellation()
current_cancellation: ContextVar[Cancellation] = ContextVar("current_cancellation", default=_NEVER)


def is_cancelled() -> bool:
    """Return, in a handler that runs in a thread, whether its lease is lost or its worker gives up waiting for it.

    A thread cannot be ended from outside. A handler that takes long asks this between its steps, and returns.
    """
    return current_cancellation.get().is_set


class _Thread:
    """A thread that runs one call after another."""

    def __init__(self, number: int) -> None:
        self._calls: queue.SimpleQueue[Callable[[], object]] = queue.SimpleQueue()
        # Unlike the threads of an executor, a daemon does not hold up the end of the program.
        threading.Thread(target=self._run, name=f"thumbq-handler-{number}", daemon=True).start()
        self.put = self._calls.put

    def _run(self) -> None:
        while True:
            self._calls.get()()


class Threads:
    """An async handler that runs a blocking one; it starts as many threads as run at the same time."""

    def __init__(self, function: BlockingHandler) -> None:
        self._function = function
        self._idle: list[_Thread] = []
        self._started = 0

    async def __call__(self, job: Job) -> Thumbnail:
        """Run the handler in a thread. When cancelled, tell the thread, and wait on; when cancelled again, leave it."""
        loop = asyncio.get_running_loop()
        ended: asyncio.Future[Thumbnail] = loop.create_future()
        cancellation = Cancellation()
        context = copy_context()
        context.run(current_cancellation.set, cancellation)

        def call() -> None:
            try:
                result = context.run(self._function, job)
            except BaseException as error:  # noqa: BLE001 - it is how the job ends
                _tell(loop, ended.set_exception, raisable(error))
            else:
                _tell(loop, ended.set_result, result)

        thread = self._take()
        thread.put(call)
        while not ended.done():
            try:
                await asyncio.wait((ended,))
            except asyncio.CancelledError:
                if cancellation.is_set:
                    raise
                cancellation.set()
        self._idle.append(thread)
        return ended.result()

    def _take(self) -> _Thread:
        if self._idle:
            return self._idle.pop()
        self._started += 1
        return _Thread(self._started)


def raisable(error: BaseException) -> BaseException:
    """Return what a future takes: no StopIteration, nor SystemExit, which would end the loop that reads it."""
    if isinstance(error, Exception) and not isinstance(error, StopIteration):
        return error
    return RuntimeError(f"the handler raised {text_of(error)}")


def _tell(loop: asyncio.AbstractEventLoop, call: Callable[..., object], value: object) -> None:
    try:
        loop.call_soon_threadsafe(call, value)
    except RuntimeError:
        # The loop is closed: the worker did not wait for this thread.
        return
