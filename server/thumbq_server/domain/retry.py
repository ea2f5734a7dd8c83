"""When a failed attempt is tried again."""

import random
from dataclasses import dataclass

MAX_ATTEMPTS = 10


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Exponential back-off: `base`, doubling with each attempt, never above `cap`. Seconds."""

    base: float = 5.0
    cap: float = 600.0
    jitter: float = 0.2


def delay(attempt: int, policy: RetryPolicy) -> float:
    """Return the seconds to wait after the failed attempt number `attempt` (1 is the first), before jitter."""
    return min(policy.cap, policy.base * 2.0 ** (attempt - 1))


def delays(policy: RetryPolicy) -> list[float]:
    """Return the delay after each attempt a job can have, the first attempt first."""
    return [delay(attempt, policy) for attempt in range(1, MAX_ATTEMPTS + 1)]


def jitter(policy: RetryPolicy) -> float:
    """Return a random factor around 1, so that jobs that failed together do not come back together."""
    return random.uniform(1 - policy.jitter, 1 + policy.jitter)
