"""Services that take turns, so that they can be compared on a machine that others use as well.

A round measures all of them once, and the next one in another order, so that a machine that becomes slower meanwhile
slows all alike. Two of the services have no difference: how far they are apart is what the measurement cannot tell.
"""

import statistics
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from itertools import permutations
from typing import NamedTuple

from bench.running.processes import cpu_seconds


class Subject(NamedTuple):
    """A running service: its addresses and its programs, and the key that it asks for."""

    grpc: str
    http: str
    pids: Sequence[int]
    key: str = ""


class Cost(NamedTuple):
    """What a job costs: microseconds of the service's CPU time, and microseconds by the clock."""

    cpu: float
    clock: float


# Does a number of jobs, whose models are counted from another one. Returns the seconds that one takes by the clock.
Work = Callable[[Subject, int, int], Awaitable[float]]


@dataclass
class Pairs:
    """The costs of three services in each round: the one that is measured, and two that are alike."""

    measured: list[Cost] = field(default_factory=list)
    alike: list[tuple[Cost, Cost]] = field(default_factory=list)

    def ratios(self, part: int) -> list[float]:
        """Return how much less it costs to do without, in each round: 1.0 is the same. `part` is that of a Cost."""
        return [
            (one[part] + other[part]) / 2 / cost[part]
            for cost, (one, other) in zip(self.measured, self.alike, strict=True)
        ]

    def noise(self, part: int) -> list[float]:
        """Return the ratio of the two that are alike, in each round."""
        return [one[part] / other[part] for one, other in self.alike]


async def take_turns(
    measured: Subject, alike: tuple[Subject, Subject], work: Work, count: int, rounds: int, first: int
) -> Pairs:
    """Measure three services, in one round more than counts: it warms up. Six rounds have every order once."""
    pairs = Pairs()
    orders = list(permutations((alike[0], measured, alike[1])))
    for number in range(rounds + 1):
        costs: dict[str, Cost] = {}
        for subject in orders[number % len(orders)]:
            costs[subject.grpc] = await _cost(subject, work, count, first)
        first += count
        if number:
            pairs.measured.append(costs[measured.grpc])
            pairs.alike.append((costs[alike[0].grpc], costs[alike[1].grpc]))
    return pairs


async def _cost(subject: Subject, work: Work, count: int, first: int) -> Cost:
    before = sum(map(cpu_seconds, subject.pids))
    seconds = await work(subject, count, first)
    return Cost((sum(map(cpu_seconds, subject.pids)) - before) / count * 1e6, seconds * 1e6)


def summary(starts: Sequence[Pairs]) -> str:
    """Return the medians of all rounds, and those of each start of the services: the least and the most."""
    costs = [cost for pairs in starts for cost in pairs.measured]
    alike = [cost for pairs in starts for both in pairs.alike for cost in both]
    lines = []
    for part, what in enumerate(("µs of CPU", "µs by the clock")):
        with_it, without = (statistics.median(cost[part] for cost in some) for some in (costs, alike))
        ratio = _spread([pairs.ratios(part) for pairs in starts])
        noise = _spread([pairs.noise(part) for pairs in starts])
        lines.append(f"  {with_it:,.0f} {what}, {without:,.0f} without: {ratio}; two without: {noise}")
    return "\n".join(lines)


def _spread(starts: Sequence[Sequence[float]]) -> str:
    medians = [statistics.median(ratios) for ratios in starts]
    least, most = min(medians), max(medians)
    return f"{statistics.median(medians):.3f} ({least:.3f} to {most:.3f})"


async def timed(work: Awaitable[None], count: int) -> float:
    """Return the seconds of each of `count` jobs."""
    began = time.perf_counter()
    await work
    return (time.perf_counter() - began) / count
