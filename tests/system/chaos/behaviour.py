"""What a handler does with a job: drawn from the seed and the lease, so that a run can be said again."""

import random
from enum import Enum
from typing import NamedTuple


class Ending(Enum):
    """How a handler ends."""

    COMPLETE = "complete"
    FAIL = "fail"
    FAIL_FOR_GOOD = "fail for good"
    RELEASE = "release"


class Behaviour(NamedTuple):
    seconds: float
    ending: Ending


_ENDINGS = [
    (0.93, Ending.COMPLETE),
    (0.04, Ending.FAIL),
    (0.01, Ending.FAIL_FOR_GOOD),
    (0.02, Ending.RELEASE),
]


def behaviour(seed: int, token: str) -> Behaviour:
    chance = random.Random(f"{seed}/{token}")
    kind = chance.random()
    if kind < 0.9:
        seconds = chance.uniform(0.002, 0.04)
    elif kind < 0.985:
        seconds = chance.uniform(0.1, 0.4)
    else:
        seconds = chance.uniform(1.0, 2.5)  # longer than any lease that is not extended
    weights = [weight for weight, _ in _ENDINGS]
    return Behaviour(seconds, chance.choices([ending for _, ending in _ENDINGS], weights)[0])


def picture_path(mode: str, token: str) -> str:
    """The path of a picture says under which lease it was made, and whether the report named that lease."""
    return f"/chaos/{mode}/{token}.png"


def failure_message(mode: str, token: str) -> str:
    return f"chaos {mode} {token}: failed on purpose"


# Whether a report names its lease.
FENCED, LEGACY = "fenced", "legacy"
