"""The jobs that a worker holds, as the loop sees them that talks to the server."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Protocol

from thumbq import results
from thumbq.log_events import event
from thumbq.outbox import Outbox
from thumbq.outcome import JobFailed, Thumbnail
from thumbq.v1.job_pb2 import Job
from thumbq.working.handover import Handover, Other

_logger = logging.getLogger("thumbq")

# More than any worker may hold: no credit is free beside it.
_FULL = 1_000_000


class Handlers(Protocol):
    """The slots, which live on the handlers' loop."""

    def accept(self, jobs: Mapping[str, Job]) -> None:
        """Run these jobs, by their tokens."""

    def lose(self, tokens: Iterable[str]) -> None:
        """Break these jobs off."""


class Ledger:
    """Holds each job from its arrival to its result, whatever its handler does meanwhile.

    Its methods run on the loop that talks to the server. Confirmations and heartbeats need nothing else, so they go
    on while a handler blocks the handlers' loop.
    """

    def __init__(self, outbox: Outbox, wake: asyncio.Event, loop: asyncio.AbstractEventLoop) -> None:
        self._outbox = outbox
        self._wake = wake
        self._loop = loop
        self.handover = Handover(loop, self._take_in)
        self.held: dict[str, Job] = {}
        # Jobs without a lease whose handlers still run.
        self._lost: set[str] = set()
        # While the handlers' loop is stuck, jobs that come are given back.
        self.stuck = False

    def connect(self, handlers: Handlers, loop: asyncio.AbstractEventLoop) -> None:
        """Name the slots that jobs are handed to, and their loop."""
        self._handlers = handlers
        self._handlers_loop = loop

    @property
    def occupied(self) -> int:
        """The number of jobs held, and of handlers that still run although their lease is lost."""
        return _FULL if self.stuck else len(self.held) + len(self._lost)

    def accept(self, jobs: Iterable[Job]) -> None:
        """Hold jobs from the server, and hand them to the slots."""
        accepted = {job.lease_token: job for job in jobs}
        if self.stuck:
            for token in accepted:
                self._outbox.release(token)
            return
        self.held.update(accepted)
        try:
            self._handlers_loop.call_soon_threadsafe(self._handlers.accept, accepted)
        except RuntimeError:
            # The caller's loop has ended; the worker ends, too.
            self.abandon()

    def when_begun(self, call: Callable[[Sequence[Job]], None], jobs: Sequence[Job]) -> None:
        """Call back once the handlers' loop has begun with what it was handed before; never while it is stuck."""

        def answer() -> None:
            with suppress(RuntimeError):
                self._loop.call_soon_threadsafe(call, jobs)

        with suppress(RuntimeError):
            # A slot that was woken runs in the turn after that.
            self._handlers_loop.call_soon_threadsafe(self._handlers_loop.call_soon, answer)

    def lose(self, tokens: Iterable[str], reason: str) -> None:
        """Break off the jobs whose lease is lost, and discard their results."""
        lost = [token for token in tokens if token in self.held]
        for token in lost:
            job = self.held[token]
            _logger.warning(
                "Job %d (model %d): the lease is lost (%s)",
                job.id,
                job.model_id,
                reason,
                extra=event("lease.lost", job),
            )
        self._break_off(lost)

    def fail(self, token: str, failure: JobFailed) -> None:
        """End an attempt whose handler does not end."""
        if token in self.held:
            self._outbox.fail(token, failure)
            self._break_off([token])

    def abandon(self) -> None:
        """Give back all jobs, and discard their results."""
        tokens = list(self.held)
        for token in tokens:
            self._outbox.release(token)
        self._break_off(tokens)

    def _break_off(self, tokens: list[str]) -> None:
        for token in tokens:
            del self.held[token]
        self._lost.update(tokens)
        self._wake.set()
        if tokens:
            with suppress(RuntimeError):
                self._handlers_loop.call_soon_threadsafe(self._handlers.lose, tokens)

    def _take_in(self) -> None:
        held, outbox = self.held, self._outbox
        successes: list[results.Entry] = []
        for token, ending in self.handover.take_all():
            if held.pop(token, None) is None:
                self._lost.discard(token)
                if outbox.attempts:
                    outbox.attempts.lost(token)
            elif isinstance(ending, Thumbnail):
                successes.append((token, ending))
            elif isinstance(ending, JobFailed):
                outbox.fail(token, ending)
            elif ending is Other.RELEASED:
                outbox.release(token)
        outbox.add_all(successes)
        self._wake.set()
