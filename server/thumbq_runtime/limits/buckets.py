"""Token buckets, one for each caller, in the form of one number: when the caller's bucket will be full again."""

import time
from bisect import bisect_right
from collections.abc import Callable
from operator import itemgetter

BURST_SECONDS = 10.0  # the tokens of this time fill a bucket; it holds at least one
_MOST_CALLERS = 20_000
_LONGEST_NAME = 250  # characters: a key or an address, and the id of a worker
_ROUNDING = 1e-6  # seconds by which sums of times may be off


class Buckets:
    """The buckets of one kind of call. Each gets `rate` tokens a second; a rate of 0 limits nothing."""

    def __init__(self, rate: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._cost = 1 / rate if rate else 0.0
        self._size = max(BURST_SECONDS, self._cost)
        self._clock = clock
        self._full_at: dict[str, float] = {}

    def take(self, caller: str) -> float:
        """Take a token and return 0.0, or return the seconds until there is one."""
        if not self._cost:
            return 0.0
        caller = short(caller)
        now = self._clock()
        full_at = max(self._full_at.get(caller, now), now) + self._cost
        missing = full_at - now - self._size
        if missing > _ROUNDING:
            return missing
        if caller not in self._full_at and len(self._full_at) >= _MOST_CALLERS:
            self._make_room(now)
        self._full_at[caller] = full_at
        return 0.0

    def give_back(self, caller: str) -> None:
        """Return a token that was taken."""
        caller = short(caller)
        if caller in self._full_at:
            self._full_at[caller] -= self._cost

    def _make_room(self, now: float) -> None:
        """Forget callers whose buckets are full, but no fewer than a tenth of all, those that are full first.

        A look through all callers takes some milliseconds, so one look always makes room for many.
        """
        by_time = sorted(self._full_at.items(), key=itemgetter(1))
        full = bisect_right(by_time, now, key=itemgetter(1))
        for caller, _ in by_time[: max(full, _MOST_CALLERS // 10)]:
            del self._full_at[caller]


def short(name: str) -> str:
    """Return the name of a caller as it may be remembered: cut, if long. A caller may tell a part of it itself."""
    return name[:_LONGEST_NAME]
