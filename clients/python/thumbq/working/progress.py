"""How far jobs have come, as their handlers tell."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Container, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar

from thumbq.v1.job_pb2 import Job
from thumbq.v1.queue_pb2 import StreamJobsRequest

# Seconds between two messages, for all jobs of a worker together.
_INTERVAL = 1.0
_MAX_TEXT = 200
# Characters of all texts in a message, which may be four bytes each; a message has at most 4 MiB.
_TEXT_PER_MESSAGE = 500_000

Tell = Callable[[str, float, str], object]
# Set once for all jobs of a worker.
_tell: ContextVar[Tell | None] = ContextVar("tell_progress", default=None)


def report_progress(job: Job, fraction: float, text: str = "") -> None:
    """Tell, in a handler, how far the job has come (0 to 1), and what the handler does: at most 200 characters.

    Call it as often as is convenient, from any thread that has the handler's context: the worker sends the newest of
    each job, once a second for all of its jobs. It never waits and never fails because of the server. Outside a worker
    it does nothing. Raises ValueError for a fraction that is not from 0 to 1, and for a text that is too long or
    has control characters.
    """
    if not 0 <= fraction <= 1:  # so is NaN
        raise ValueError(f"the progress of a job is a number from 0 to 1, not {fraction}")
    if len(text) > _MAX_TEXT or not text.isprintable():
        raise ValueError(f"the text of a progress has at most {_MAX_TEXT} printable characters")
    tell = _tell.get()
    if tell is not None:
        tell(job.lease_token, float(fraction), text)


@contextmanager
def told_to(tell: Tell) -> Iterator[None]:
    """Have `tell` take the progress of all handlers whose context is copied in this block."""
    token = _tell.set(tell)
    try:
        yield
    finally:
        _tell.reset(token)


def tell_on(token: str, fraction: float, text: str) -> None:
    """Pass on what a handler told in another process."""
    tell = _tell.get()
    if tell is not None:
        tell(token, fraction, text)


class ProgressOutbox:
    """Keeps the newest progress of each job until the stream sends it. Without progress it costs nothing."""

    def __init__(self, wake: asyncio.Event, loop: asyncio.AbstractEventLoop) -> None:
        self._wake = wake
        self._loop = loop
        self._lock = threading.Lock()
        self._told: dict[str, tuple[float, str]] = {}
        self._earliest = 0.0
        # Whether a message is due.
        self.due = False

    def tell(self, token: str, fraction: float, text: str) -> None:
        """Take in how far a job has come, on any thread."""
        with self._lock:
            first = not self._told
            self._told[token] = (fraction, text)
        if first:
            # A loop that is closed has said what it had to say.
            with suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._plan)

    def take(self, held: Container[str]) -> StreamJobsRequest | None:
        """Return the message that is due, with the jobs that are still held, and texts as far as there is room."""
        self.due = False
        with self._lock:
            told, self._told = self._told, {}
        message = StreamJobsRequest.Progress()
        room = _TEXT_PER_MESSAGE
        for token, (fraction, text) in told.items():
            if token in held:
                room -= len(text)
                message.entries.add(lease_token=token, fraction=fraction, text=text if room >= 0 else "")
        if not message.entries:
            return None
        self._earliest = self._loop.time() + _INTERVAL
        return StreamJobsRequest(progress=message)

    def _plan(self) -> None:
        self._loop.call_at(self._earliest, self._fall_due)

    def _fall_due(self) -> None:
        self.due = True
        self._wake.set()
