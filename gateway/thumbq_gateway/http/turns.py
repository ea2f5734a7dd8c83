"""Costly work, one piece after the other: the callers that wait for it take turns, and others have time in between."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Turns:
    """The turns of callers. However much one of them asks for, each other waits for one piece of its work at most."""

    def __init__(self, rest: float) -> None:
        """After each turn nobody has one for `rest` times as long as it took."""
        self._rest = rest
        self._taken = False
        # The caller whose turn is next stands first.
        self._waiting: dict[str, deque[asyncio.Future[None]]] = {}

    @asynccontextmanager
    async def turn(self, caller: str) -> AsyncIterator[None]:
        """Run the block when it is the caller's turn."""
        loop = asyncio.get_running_loop()
        if self._taken:
            mine = loop.create_future()
            self._waiting.setdefault(caller, deque()).append(mine)
            try:
                await mine
            except asyncio.CancelledError:
                if not mine.cancelled():  # its turn has come in the same moment
                    self._pass_on()
                raise
        self._taken = True
        began = loop.time()
        try:
            yield
        finally:
            loop.call_later(self._rest * (loop.time() - began), self._pass_on)

    def _pass_on(self) -> None:
        self._taken = False
        while self._waiting and not self._taken:
            caller = next(iter(self._waiting))
            theirs = self._waiting.pop(caller)
            first = theirs.popleft()
            if theirs:
                self._waiting[caller] = theirs
            if not first.cancelled():
                self._taken = True
                first.set_result(None)
