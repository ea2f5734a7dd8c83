"""Which refused calls are recorded: a caller's first in a minute, and a bounded number of all callers'."""

import time
from collections.abc import Callable, Hashable

_MINUTE = 60.0
_MOST = 60  # in a minute


class Sample:
    """Chooses. A flood of refused calls costs a row a second at most, however many addresses it comes from."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._ends = 0.0
        self._seen: set[Hashable] = set()

    def takes(self, caller: Hashable) -> bool:
        """Return whether this one is recorded."""
        now = self._clock()
        if now >= self._ends:
            self._ends = now + _MINUTE
            self._seen.clear()
        if caller in self._seen or len(self._seen) >= _MOST:
            return False
        self._seen.add(caller)
        return True
