"""Watches the handlers: names one that blocks the event loop, and ends attempts that take too long."""

from __future__ import annotations

import asyncio
import logging
import sys
import sysconfig
import threading
import traceback
from collections.abc import Iterator
from pathlib import PurePath
from time import monotonic
from types import FrameType

from thumbq.log_events import event
from thumbq.outcome import JobFailed
from thumbq.working.ledger import Ledger
from thumbq.working.slots import Slots

_logger = logging.getLogger("thumbq")

# Seconds between two looks.
_INTERVAL = 1.0
# Seconds without an answer after which the loop counts as stuck.
_STUCK = 2.0
# Files that say little about a program: those of Python, of its packages, and frozen ones.
_NOT_OURS = (*(sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")), "<frozen")


class Watchdog:
    """Runs on the thread that talks to the server, and asks the handlers' loop for a sign of life.

    Made on the handlers' loop. It reads the slots from outside, since a loop that is stuck cannot answer.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, slots: Slots, time_limit: float, interval: float = _INTERVAL
    ) -> None:
        self._loop = loop
        self._thread = threading.get_ident()
        self._slots = slots
        self._time_limit = time_limit
        self._interval = min(interval, time_limit / 4)

    async def watch(self, ledger: Ledger) -> None:
        """Look until it is cancelled."""
        while True:
            await asyncio.sleep(self._interval)
            try:
                await self._await_answer(ledger)
            except RuntimeError:
                return  # The handlers' loop is closed.
            finally:
                ledger.stuck = False
            for token in self._overdue():
                ledger.fail(token, JobFailed(f"The handler took longer than {self._time_limit:g} s"))

    async def _await_answer(self, ledger: Ledger) -> None:
        """Return when the handlers' loop answers; say meanwhile who blocks it. Raises RuntimeError."""
        answered = asyncio.Event()
        here = asyncio.get_running_loop()
        asked = monotonic()
        self._loop.call_soon_threadsafe(here.call_soon_threadsafe, answered.set)
        while not answered.is_set():
            try:
                async with asyncio.timeout(self._interval):
                    await answered.wait()
            except TimeoutError:
                self._look_at_stuck_loop(ledger, asked)

    def _look_at_stuck_loop(self, ledger: Ledger, asked: float) -> None:
        blocked = monotonic() - asked
        if blocked < min(_STUCK, self._time_limit):
            return
        token = self._culprit()
        place = self._place()
        if not ledger.stuck:
            ledger.stuck = True
            job = ledger.held.get(token)
            who = f"The handler of job {job.id} (model {job.model_id})" if job else "Something"
            _logger.warning(
                "%s has blocked the event loop for %.1f s, at %s; make it a plain function, and it runs in a thread."
                " It stands here:\n%s",
                who,
                blocked,
                place,
                "".join(traceback.format_stack(self._frame())).rstrip(),
                extra=event("worker.blocked", job),
            )
        if blocked >= self._time_limit and ledger.held:
            why = f"The handler has blocked its worker's event loop for {self._time_limit:g} s, at {place}"
            ledger.fail(token, JobFailed(why))
            # Nothing else gets on here, so the others may run elsewhere.
            ledger.abandon()

    def _overdue(self) -> Iterator[str]:
        for slot in self._slots.slots:
            waiting = slot.waiting
            if waiting and monotonic() - waiting[1] > self._time_limit:
                yield waiting[0]

    def _culprit(self) -> str:
        """Return the token of the job whose handler runs at this moment, or "" if it is something else."""
        task = asyncio.current_task(self._loop)
        slot = next((slot for slot in self._slots.slots if slot.task is task), None)
        if slot is None:
            return ""
        waiting = slot.waiting
        return waiting[0] if waiting else slot.token

    def _frame(self) -> FrameType | None:
        return sys._current_frames().get(self._thread)  # noqa: SLF001 - there is no other way to see another thread

    def _place(self) -> str:
        """Return where the program's own code is: render.py:12, in draw."""
        frame = innermost = self._frame()
        while frame and frame.f_code.co_filename.startswith(_NOT_OURS):
            frame = frame.f_back
        if not (found := frame or innermost):
            return "a place unknown"
        code = found.f_code
        return f"{PurePath(code.co_filename).name}:{found.f_lineno}, in {code.co_name}"
