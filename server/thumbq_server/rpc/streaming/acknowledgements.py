"""Acknowledgements that wait a moment for the next jobs of their worker: together they are one message."""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import NamedTuple

# Workers count on both.
HELD_SECONDS = 0.5
HELD_RESULTS = 4


class _Committed(NamedTuple):
    """A message of results that were all accepted."""

    number: int
    results: int
    since: float


class Acknowledgements:
    """Holds the numbers of messages of results; `send` sends some to the worker without jobs."""

    def __init__(self, send: Callable[[Sequence[int]], None]) -> None:
        self._send = send
        self._held: deque[_Committed] = deque()
        # A timer that finds nothing to send costs less than one that is cancelled for each message.
        self._timer: asyncio.TimerHandle | None = None

    def hold(self, number: int, results: int) -> None:
        """Hold one more, unless the results of all are too many by now: then send them."""
        loop = asyncio.get_running_loop()
        self._held.append(_Committed(number, results, loop.time()))
        if sum(committed.results for committed in self._held) > HELD_RESULTS:
            self.flush()
        elif self._timer is None:
            self._timer = loop.call_later(HELD_SECONDS, self._look)

    def take(self) -> list[int]:
        """Return those that are held, to be sent with jobs."""
        numbers = [committed.number for committed in self._held]
        self._held.clear()
        return numbers

    def flush(self) -> None:
        """Send those that are held."""
        if self._held:
            self._send(self.take())

    def close(self) -> None:
        """Drop those that are held."""
        self._held.clear()
        if self._timer is not None:
            self._timer.cancel()

    def _look(self) -> None:
        loop = asyncio.get_running_loop()
        self._timer = None
        if self._held and self._held[0].since + HELD_SECONDS <= loop.time():
            self.flush()
        elif self._held:
            self._timer = loop.call_at(self._held[0].since + HELD_SECONDS, self._look)
