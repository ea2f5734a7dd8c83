"""Runs handlers that need a processor for themselves, each in a process."""

from __future__ import annotations

import asyncio
import inspect
import logging
import multiprocessing
import os
import pickle
import signal
import threading
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from types import TracebackType
from typing import Any, NamedTuple, Self

from thumbq.log_events import event
from thumbq.outcome import JobFailed, JobReleased, Thumbnail
from thumbq.v1.job_pb2 import Job
from thumbq.working.handler import Handler, plain_failure, text_of
from thumbq.working.progress import tell_on, told_to
from thumbq.working.threads import current_cancellation

_logger = logging.getLogger("thumbq")

# Never "fork": a fork of a process whose threads talk gRPC may hang.
_spawning = multiprocessing.get_context("spawn")


class Processes:
    """A blocking handler that runs another one in a process, one process for each thread that calls it."""

    def __init__(self, handler: Handler) -> None:
        try:
            pickle.dumps(handler)
        except Exception as error:
            raise TypeError(f"with processes=True, the handler must be a function of a module: {error}") from error
        self._handler = handler
        self._own = threading.local()
        self._all: set[_Child] = set()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for child in list(self._all):
            child.kill()

    def __call__(self, job: Job) -> Thumbnail:
        """Run the handler in this thread's process; a cancellation kills the process."""
        child = self._child()
        cancellation = current_cancellation.get()
        cancellation.on_set(child.kill)
        try:
            outcome = child.run(job)
        except (EOFError, OSError):
            self._forget(child)
            raise JobFailed(f"The handler's process ended: {child.how_it_ended()}") from None
        finally:
            cancellation.on_set(None)
        if child.is_killed:
            # The job was cancelled when its outcome had been sent already. The next one needs another process.
            self._forget(child)
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome  # type: ignore[no-any-return]  # the slot checks what it is

    def _child(self) -> _Child:
        child: _Child | None = getattr(self._own, "child", None)
        if child is None:
            child = self._own.child = _Child(self._handler)
            self._all.add(child)
        return child

    def _forget(self, child: _Child) -> None:
        self._all.discard(child)
        self._own.child = None


class _Progress(NamedTuple):
    """How far a handler has come: it precedes the handler's outcome in the pipe."""

    token: str
    fraction: float
    text: str


class _Child:
    """A process, and the pipe to it."""

    def __init__(self, handler: Handler) -> None:
        self._pipe, theirs = _spawning.Pipe()
        self._process: SpawnProcess = _spawning.Process(
            target=_serve, args=(theirs, handler), name="thumbq-handler", daemon=True
        )
        self._process.start()
        theirs.close()
        self.is_killed = False

    def run(self, job: Job) -> Any:
        """Return what the handler returns, or the exception that it raises. Raises EOFError, OSError."""
        self._pipe.send(job)
        while isinstance(said := self._pipe.recv(), _Progress):
            tell_on(*said)
        return said

    def kill(self) -> None:
        self.is_killed = True
        self._process.kill()

    def how_it_ended(self) -> str:
        self._process.join(5)
        self._pipe.close()
        code = self._process.exitcode
        if code is None:
            return "its pipe is closed"
        return f"exit code {code}" if code >= 0 else f"killed by signal {signal.Signals(-code).name}"


def _serve(pipe: Connection, handler: Handler) -> None:
    """Run jobs until the pipe is closed; the worker alone decides when that is."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    # A handler may tell its progress from several threads.
    sending = threading.Lock()

    def say(what: object) -> None:
        with sending:
            pipe.send(what)

    with told_to(lambda *progress: say(_Progress(*progress))):
        while True:
            try:
                job = pipe.recv()
            except EOFError:
                return
            say(_run(handler, job))


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent:
        parent.join()
        os._exit(1)


def _run(handler: Handler, job: Job) -> object:
    try:
        outcome = handler(job)
        if inspect.isawaitable(outcome):
            outcome = asyncio.run(_awaited(outcome))
        if not isinstance(outcome, Thumbnail):
            raise TypeError(f"the handler returned {type(outcome).__name__}, not a Thumbnail")
    except JobFailed as error:
        # A class of the program's own may not go through a pipe.
        return plain_failure(error)
    except JobReleased:
        return JobReleased()
    except BaseException as error:
        _logger.warning(
            "Job %d (model %d) failed", job.id, job.model_id, exc_info=error, extra=event("job.failed", job)
        )
        # The exception itself may not go through a pipe.
        return JobFailed(text_of(error))
    return outcome


async def _awaited(outcome: Any) -> Any:
    return await outcome
