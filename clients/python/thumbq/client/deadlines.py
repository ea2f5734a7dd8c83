"""The time limit of answers that all may take equally long."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any

# Answers that came behind one that did not are looked for when there may be this many, and again at each doubling.
_FEW = 1024


class Deadlines:
    """Gives an error to each answer that takes too long. One timer serves all: the oldest is the next to be late.

    A time limit of its own for each call would cost more than the rest of a call that travels with others.
    """

    def __init__(self, seconds: float, too_late: Callable[[], Exception]) -> None:
        self._seconds = seconds
        self._too_late = too_late
        self._waiting: deque[tuple[float, asyncio.Future[Any]]] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._many = _FEW

    def add(self, answer: asyncio.Future[Any]) -> None:
        """Let the time of an answer begin now."""
        loop = asyncio.get_running_loop()
        self._drop_answered()
        if len(self._waiting) >= self._many:
            self._drop_all_answered()
        self._waiting.append((loop.time() + self._seconds, answer))
        if self._timer is None:
            self._timer = loop.call_later(self._seconds, self._look)

    def close(self) -> None:
        """End no more answers."""
        self._waiting.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        loop = asyncio.get_running_loop()
        self._timer = None
        self._drop_answered()
        while self._waiting and self._waiting[0][0] <= loop.time():
            self._waiting.popleft()[1].set_exception(self._too_late())
            self._drop_answered()
        if self._waiting:
            self._timer = loop.call_at(self._waiting[0][0], self._look)

    def _drop_answered(self) -> None:
        while self._waiting and self._waiting[0][1].done():
            self._waiting.popleft()

    def _drop_all_answered(self) -> None:
        self._waiting = deque(waiting for waiting in self._waiting if not waiting[1].done())
        self._many = max(_FEW, 2 * len(self._waiting))
