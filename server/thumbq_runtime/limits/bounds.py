"""How much a caller may have at the same time: streams, subscriptions, calls that wait, connections, jobs in flight."""

from collections import Counter
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Self

from thumbq_runtime.limits.rates import Kind, TooOften

_AGAIN = 5.0  # seconds until one of the caller's things may have ended

# What a caller has too many of, and the setting that says how many it may have.
_THINGS = {
    Kind.STREAMS: ("streams", "THUMBQ_STREAMS_OF_ADDRESS"),
    Kind.WORK_STREAMS: ("streams of workers", "THUMBQ_WORK_STREAMS_OF_ADDRESS"),
    Kind.ENQUEUE_STREAMS: ("streams of producers", "THUMBQ_ENQUEUE_STREAMS_OF_ADDRESS"),
    Kind.SUBSCRIPTIONS: ("subscriptions", "THUMBQ_SUBSCRIPTIONS_OF_ADDRESS"),
    Kind.WAITING_CALLS: ("calls that wait", "THUMBQ_WAITING_CALLS_OF_ADDRESS"),
    Kind.CONNECTIONS: ("connections", "THUMBQ_CONNECTIONS_OF_ADDRESS"),
    Kind.JOBS_IN_FLIGHT: ("jobs in flight", "THUMBQ_JOBS_IN_FLIGHT_OF_ADDRESS"),
}


class TooMany(TooOften):
    """The caller has as many as it may have. `retry_after` is a guess."""

    def __init__(self, kind: Kind, most: int) -> None:
        things, setting = _THINGS[kind]
        super().__init__(kind, _AGAIN, f"This caller has {most} {things}, as many as it may have ({setting}).")


class Bounds:
    """Counts what callers have, and refuses what is too much."""

    def __init__(self, most: Mapping[Kind, int], refused: Callable[[Kind, str], None]) -> None:
        """`refused` is called at each refusal."""
        self._most = most
        self._refused = refused
        self._counts: Counter[tuple[Kind, str]] = Counter()

    def __len__(self) -> int:
        """Return how much is taken in all."""
        return self._counts.total()

    def take(self, caller: str, *kinds: Kind) -> "Place":
        """Let the caller have one more of each kind, until the place is given up. Raises TooMany."""
        for kind in kinds:
            if self._counts[kind, caller] >= self._most[kind]:
                self._refused(kind, caller)
                raise TooMany(kind, self._most[kind])
        for kind in kinds:
            self._counts[kind, caller] += 1
        return Place(self._counts, caller, kinds)


class Place:
    """What a caller has taken. Giving it up twice is harmless."""

    __slots__ = ("_caller", "_counts", "_kinds", "nth")

    def __init__(self, counts: Counter[tuple[Kind, str]], caller: str, kinds: tuple[Kind, ...]) -> None:
        self._counts = counts
        self._caller = caller
        self._kinds = kinds
        # How many of the last kind the caller had then, this one included.
        self.nth = counts[kinds[-1], caller]

    def give_up(self) -> None:
        """Let the caller have others."""
        kinds, self._kinds = self._kinds, ()
        for kind in kinds:
            key = kind, self._caller
            self._counts[key] -= 1
            if not self._counts[key]:
                del self._counts[key]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.give_up()
