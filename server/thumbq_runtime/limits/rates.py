"""Refuses callers that call too often, and tells them when to come back."""

import asyncio
import math
import random
import time
from collections.abc import Callable, Iterable, Mapping
from enum import StrEnum

import structlog

from thumbq_runtime.limits.buckets import Buckets, short
from thumbq_runtime.text import printable

_LEAST_PAUSE = 1.0  # seconds; Retry-After knows whole ones only
LONGEST_PAUSE = 60.0
_MOST_HELD = 20_000  # refusals that are held back at the same time
_MOST_CALLERS = 20_000
_MOST_LINES = 50  # of the log in a minute, however many callers are refused
_MINUTE = 60.0

log = structlog.get_logger()


class Kind(StrEnum):
    """What a caller does too often (each kind has buckets of its own), or has too much of."""

    WORKER_POLLS = "worker_polls"
    POLLS = "polls"
    ENQUEUES = "enqueues"
    READS = "reads"
    WRONG_KEYS = "wrong_keys"
    STREAMS = "streams"
    WORK_STREAMS = "work_streams"
    ENQUEUE_STREAMS = "enqueue_streams"
    SUBSCRIPTIONS = "subscriptions"
    WAITING_CALLS = "waiting_calls"
    CONNECTIONS = "connections"
    JOBS_IN_FLIGHT = "jobs_in_flight"
    QUEUE_DEPTH = "queue_depth"


_SENTENCES = {
    Kind.WORKER_POLLS: "This worker asks too often while no job is due.",
    Kind.POLLS: "Workers of this key or address ask too often while no job is due.",
    Kind.ENQUEUES: "This caller enqueues too often.",
    Kind.READS: "This caller reads too often.",
    Kind.WRONG_KEYS: "Wrong API keys come from this address too often.",
}


class TooOften(Exception):
    """The call is refused. The same call may succeed after `retry_after` whole seconds."""

    def __init__(self, kind: Kind, seconds: float, sentence: str = "") -> None:
        self.kind = kind
        self.retry_after = math.ceil(min(max(seconds, _LEAST_PAUSE), LONGEST_PAUSE))
        super().__init__(f"{sentence or _SENTENCES[kind]} Try again after {self.retry_after} s.")


class Rates:
    """The buckets of every kind. `refused` counts refusals."""

    def __init__(self, rates: Mapping[Kind, float], refused: Callable[[Kind], None]) -> None:
        self._buckets = {kind: Buckets(rate) for kind, rate in rates.items()}
        self._refused = refused
        self._lines = Lines()
        self._returns = Returns()
        self._held = 0

    async def admit(self, *counted: tuple[Kind, str]) -> None:
        """Take a token for each kind and caller. Raises TooOften.

        A caller that comes back before the time that it was told waits until then: a loop without a pause costs a call
        a second.
        """
        refusal = self._take(counted)
        if refusal and self._held < _MOST_HELD:
            early = max(map(self._returns.after, counted)) - time.monotonic()
            if early > 0:
                self._held += 1
                try:
                    # Not to the moment: those who were refused together would come back together.
                    await asyncio.sleep(min(early, _LEAST_PAUSE) * random.uniform(0.5, 1.0))
                finally:
                    self._held -= 1
                refusal = self._take(counted)
        if refusal:
            caller = dict(counted)[refusal.kind]
            self._returns.remember((refusal.kind, caller), refusal.retry_after)
            self.note(refusal.kind, caller)
            raise refusal

    async def pace(self, kind: Kind, caller: str) -> None:
        """Take a token as soon as there is one: for what can wait without a refusal."""
        while missing := self._buckets[kind].take(caller):  # noqa: ASYNC110 - a bucket fills by itself
            await asyncio.sleep(min(missing, _LEAST_PAUSE))

    def give_back(self, *counted: tuple[Kind, str]) -> None:
        """Return the tokens of a call that costs none after all."""
        for kind, caller in counted:
            self._buckets[kind].give_back(caller)

    def note(self, kind: Kind, caller: str) -> None:
        """Count and log a refusal."""
        self._refused(kind)
        self._lines.write(kind, caller)

    def _take(self, counted: Iterable[tuple[Kind, str]]) -> TooOften | None:
        taken: list[tuple[Kind, str]] = []
        for kind, caller in counted:
            if missing := self._buckets[kind].take(caller):
                self.give_back(*taken)
                return TooOften(kind, missing)
            taken.append((kind, caller))
        return None


class Returns:
    """When refused callers may return, on two pages: a new one takes the older one's place, so none is looked through.

    A page is for a minute, or until it is full. Then all that the older one says is over, or too many came since.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._page_ends = 0.0
        self._page: dict[tuple[Kind, str], float] = {}
        self._page_before: dict[tuple[Kind, str], float] = {}

    def after(self, one: tuple[Kind, str]) -> float:
        """Return the time before which a caller was told not to return; long ago, if it was told nothing."""
        one = _short(one)
        return max(self._page.get(one, 0.0), self._page_before.get(one, 0.0))

    def remember(self, one: tuple[Kind, str], seconds: float) -> None:
        """Note that a caller was told to return after this many seconds, 60 at most."""
        one = _short(one)
        now = self._clock()
        if now >= self._page_ends or len(self._page) >= _MOST_CALLERS:
            self._page_ends = now + LONGEST_PAUSE
            self._page_before, self._page = self._page, {}
        self._page[one] = max(self.after(one), now + seconds)


class Lines:
    """The log of refusals: one line for a caller and minute, and a bounded number of lines for all of them."""

    def __init__(self) -> None:
        self._minute_ends = 0.0
        self._counts: dict[tuple[Kind, str], int] = {}
        self._last_minute: dict[tuple[Kind, str], int] = {}

    def write(self, kind: Kind, caller: str) -> None:
        """Log a refusal if it is the caller's first in this minute."""
        now = time.monotonic()
        if now >= self._minute_ends:
            self._minute_ends = now + _MINUTE
            self._last_minute, self._counts = self._counts, {}
        key = _short((kind, caller))
        count = self._counts.get(key, 0)
        if count or len(self._counts) < _MOST_LINES:
            self._counts[key] = count + 1
            if not count:
                before = self._last_minute.get(key, 0)
                log.warning("call.refused", kind=kind.value, caller=printable(key[1]), last_minute=before)


def _short(one: tuple[Kind, str]) -> tuple[Kind, str]:
    return one[0], short(one[1])
