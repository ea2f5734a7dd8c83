"""Whether anybody wants something: from the first client's coming until some time after the last one's leaving."""

import asyncio
from collections.abc import Callable


class Demand:
    """Counts the clients. Written by those that serve them."""

    def __init__(self, begin: Callable[[], None], end: Callable[[], None], *, linger: float) -> None:
        """`begin` and `end` are called when the demand does so.

        It ends `linger` seconds after the last client has left, since pages are often reloaded.
        """
        self._begin = begin
        self._end = end
        self._linger = linger
        self._clients = 0
        self._wanted_until = 0.0
        self._ending: asyncio.TimerHandle | None = None
        self.is_there = False

    def enter(self) -> None:
        """Count one client more."""
        self._clients += 1
        self._keep()
        if not self.is_there:
            self.is_there = True
            self._begin()

    def leave(self, linger: float | None = None) -> None:
        """Count one client less. This one may come back for `linger` seconds, if it takes longer than others."""
        self._clients -= 1
        loop = asyncio.get_running_loop()
        self._wanted_until = max(self._wanted_until, loop.time() + (self._linger if linger is None else linger))
        if not self._clients:
            self._ending = loop.call_at(self._wanted_until, self.end)

    def end(self) -> None:
        """End the demand now."""
        self._keep()
        self._wanted_until = 0.0
        if self.is_there:
            self.is_there = False
            self._end()

    def _keep(self) -> None:
        if self._ending:
            self._ending.cancel()
            self._ending = None
