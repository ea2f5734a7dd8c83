"""Takes the ends of jobs from the handlers' event loop to the loop that talks to the server."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from enum import Enum

from thumbq.outcome import JobFailed, Thumbnail


class Other(Enum):
    """The ends of a job that carry nothing."""

    RELEASED = "released"
    # The lease had been lost, and the slot is free now.
    GONE = "gone"


Ending = Thumbnail | JobFailed | Other


class Handover:
    """Collects ends on one loop, and wakes the other for the first of them only.

    The handlers' loop appends; the other loop takes from the left. Both are single steps of a deque.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, take: Callable[[], None]) -> None:
        self._loop = loop
        self._take = take
        self._ended: deque[tuple[str, Ending]] = deque()
        self._woken = False

    def complete(self, token: str, thumbnail: Thumbnail) -> None:
        """Hand over a success."""
        self._put(token, thumbnail)

    def fail(self, token: str, failure: JobFailed) -> None:
        """Hand over a failed attempt."""
        self._put(token, failure)

    def release(self, token: str) -> None:
        """Hand over a released job."""
        self._put(token, Other.RELEASED)

    def gone(self, token: str) -> None:
        """Say that nothing runs any more for a job whose lease was lost."""
        self._put(token, Other.GONE)

    def take_all(self) -> list[tuple[str, Ending]]:
        """Return everything that was handed over since the last time."""
        # In this order: an end that is appended in between is returned now, or wakes the loop again.
        self._woken = False
        return [self._ended.popleft() for _ in range(len(self._ended))]

    def _put(self, token: str, ending: Ending) -> None:
        self._ended.append((token, ending))
        if not self._woken:
            self._woken = True
            # A loop that is closed has said what it had to say; the leases run out.
            with suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._take)
