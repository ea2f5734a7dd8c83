"""The jobs that a worker holds: up to `concurrency` in their handlers at once, the others waiting for a free slot."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Coroutine, Iterable, Mapping
from contextvars import Context, copy_context
from enum import IntEnum, auto
from time import monotonic
from typing import Any, Protocol

from thumbq.log_events import event
from thumbq.outcome import JobFailed, JobReleased, Thumbnail
from thumbq.v1.job_pb2 import Job
from thumbq.working.handler import AsyncHandler, as_failure, run_to_its_end

_logger = logging.getLogger("thumbq")

# Seconds for which handlers that never wait run one after another before the stream gets its turn.
_TURN = 0.005


class Phase(IntEnum):
    """The phase of the slots; they go from one to a later one, never back.

    | phase   | jobs that come    | jobs that wait | handlers that run | entered by            |
    |---------|-------------------|----------------|-------------------|-----------------------|
    | OPEN    | are held          | wait           | run               |                       |
    | CLOSED  | are released      | are released   | run to their end  | `close`               |
    | ABORTED | are released      | are released   | are cancelled     | `abort`               |
    | ENDED   | are released      | are released   | are cancelled     | `end`, after `abort`  |
    """

    OPEN = auto()
    CLOSED = auto()
    ABORTED = auto()
    ENDED = auto()


class Endings(Protocol):
    """Takes how each job ends, once for each that was accepted."""

    def complete(self, token: str, thumbnail: Thumbnail) -> None:
        """Take a success."""

    def fail(self, token: str, failure: JobFailed) -> None:
        """Take a failed attempt."""

    def release(self, token: str) -> None:
        """Take a released job."""

    def gone(self, token: str) -> None:
        """Take the end of a job that was lost before: nothing runs for it any more."""


class Slot:
    """One handler at a time. The watchdog reads it from another thread: each attribute is set in one step."""

    __slots__ = ("task", "token", "waiting")

    def __init__(self) -> None:
        self.task: asyncio.Task[None] | None = None
        # The job whose handler began last.
        self.token = ""
        # The job whose handler waits for something, and since when it runs.
        self.waiting: tuple[str, float] | None = None


class Slots:
    """Runs jobs in long-lived tasks, one per slot, and hands over their results.

    A slot works through the waiting jobs by itself, so a handler that never really waits costs no task and no turn
    of the event loop; only a handler that waits makes the next slot wake up. Each job runs in its own copy of
    the context, and `asyncio.current_task()` is the slot's task, so timeouts and task groups work as usual.
    """

    def __init__(self, handler: AsyncHandler, concurrency: int, endings: Endings) -> None:
        self._handler = handler
        self._concurrency = concurrency
        self._endings = endings
        self._context = copy_context()
        self._held: dict[str, Job] = {}
        self._waiting: deque[str] = deque()
        self._running: dict[str, asyncio.Task[None]] = {}
        self._tasks: list[asyncio.Task[None]] = []
        # It only grows, so the watchdog may read it at any time.
        self.slots: list[Slot] = []
        self._idle: list[asyncio.Future[None]] = []
        # A slot was woken and has not run since: it wakes the next one itself.
        self._waking = False
        self._phase = Phase.OPEN
        self._finished = asyncio.Event()
        self.crashed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.completed = 0
        self.failed = 0

    @property
    def held(self) -> dict[str, Job]:
        """The jobs by lease token, both running and waiting for a slot."""
        return self._held

    def accept(self, jobs: Mapping[str, Job]) -> None:
        """Hold jobs by their tokens; once closed, release them."""
        if self._phase is Phase.OPEN:
            self._held.update(jobs)
            self._waiting.extend(jobs)
        else:
            for token in jobs:
                self._endings.release(token)
        if self._waiting and not self._waking:
            self._wake_slot()

    def lose(self, tokens: Iterable[str]) -> None:
        """Cancel the handlers of jobs whose lease is lost, and discard their results."""
        for token in tokens:
            if self._held.pop(token, None) is None:
                continue
            if task := self._running.get(token):
                task.cancel()
            else:
                self._endings.gone(token)
        self._check_finished()

    def close(self) -> None:
        """Release the jobs that have not begun, and take no more."""
        self._advance(Phase.CLOSED)
        self._release_waiting()
        self._check_finished()

    def abort(self) -> None:
        """Cancel all handlers, and release their jobs."""
        self._advance(Phase.ABORTED)
        self._release_waiting()
        for task in self._running.values():
            task.cancel()
        self._check_finished()

    async def finished(self) -> None:
        """Wait, after `close`, until no job is held any more."""
        await self._finished.wait()

    async def end(self) -> None:
        """End the slots; a handler that resists its cancellation is left behind after a second."""
        self._advance(Phase.ENDED)
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            _, resisting = await asyncio.wait(self._tasks, timeout=1)
            if resisting:
                _logger.warning(
                    "%d handlers did not end when they were cancelled",
                    len(resisting),
                    extra=event("handler.resisting", count=len(resisting)),
                )

    def _advance(self, phase: Phase) -> None:
        self._phase = max(self._phase, phase)

    def _release_waiting(self) -> None:
        for token in self._waiting:
            if self._held.pop(token, None) is not None:
                self._endings.release(token)
        self._waiting.clear()

    def _check_finished(self) -> None:
        if self._phase is not Phase.OPEN and not self._held:
            self._finished.set()

    def _wake_slot(self) -> None:
        if self._idle:
            signal = self._idle.pop()
            if not signal.done():  # otherwise its slot was cancelled, and runs next in any case
                signal.set_result(None)
        elif len(self._tasks) < self._concurrency:
            slot = Slot()
            # Not create_task: with asyncio.eager_task_factory a task begins before the slot knows it.
            loop, context = asyncio.get_running_loop(), self._context.copy()
            slot.task = asyncio.Task(self._serve(slot), loop=loop, context=context)
            slot.task.add_done_callback(self._slot_ended)
            self._tasks.append(slot.task)
            self.slots.append(slot)
        else:
            return
        self._waking = True

    def _slot_ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) and not self.crashed.done():
            self.crashed.set_exception(error)

    async def _serve(self, slot: Slot) -> None:
        loop = asyncio.get_running_loop()
        while self._phase is not Phase.ENDED:
            self._waking = False
            signal = loop.create_future()
            try:
                await self._work_through_queue(slot)
                self._idle.append(signal)
                await signal
            except asyncio.CancelledError:
                if self._phase >= Phase.ENDED:
                    raise
                # What a handler has left behind cancels its task when the job has ended already.
                _uncancel(slot.task)
                if signal in self._idle:
                    self._idle.remove(signal)

    async def _work_through_queue(self, slot: Slot) -> None:
        waiting, held, handler, context = self._waiting, self._held, self._handler, self._context
        turn_ends = monotonic() + _TURN
        outcome: object
        while waiting:
            token = waiting.popleft()
            job = held.get(token)
            if job is None:
                continue
            if waiting and not self._waking:
                self._wake_slot()
            slot.token = token
            own_context = context.copy()
            try:
                coroutine = own_context.run(handler, job)
                # A handler that never waits ends within this one step.
                awaited = own_context.run(coroutine.send, None)
            except StopIteration as returned:
                outcome = returned.value
            except BaseException as error:  # noqa: BLE001 - it is how the job ends
                outcome = error
            else:
                outcome = await self._await_handler(slot, own_context, coroutine, awaited)
                turn_ends = monotonic() + _TURN
            self._settle(token, outcome)
            if isinstance(outcome, KeyboardInterrupt):
                raise outcome
            if monotonic() > turn_ends:
                await asyncio.sleep(0)
                turn_ends = monotonic() + _TURN

    async def _await_handler(
        self, slot: Slot, context: Context, coroutine: Coroutine[Any, Any, Thumbnail], awaited: object
    ) -> object:
        task, token = slot.task, slot.token
        assert task is not None
        self._running[token] = task
        slot.waiting = (token, monotonic())
        try:
            return await run_to_its_end(context, coroutine, awaited)
        except BaseException as error:
            if task.get_loop().is_closed():
                # Not the handler raised it: Python closes what the event loop has left behind.
                raise
            return error
        finally:
            del self._running[token]
            slot.waiting = None
            _uncancel(task)

    def _settle(self, token: str, outcome: object) -> None:
        job = self._held.pop(token, None)
        if job is None:
            self._endings.gone(token)
            return
        if isinstance(outcome, Thumbnail):
            self.completed += 1
            self._endings.complete(token, outcome)
        elif self._phase >= Phase.ABORTED or isinstance(outcome, JobReleased):
            self._endings.release(token)
        else:
            self.failed += 1
            self._endings.fail(token, as_failure(job, outcome))
        if self._phase is not Phase.OPEN:
            self._check_finished()


def _uncancel(task: asyncio.Task[None] | None) -> None:
    while task and task.cancelling():
        task.uncancel()
