"""What a handler does with a job: drawn from the seed, so that a run can be said again.

A slow model is slow in each attempt, so that the late result of a zombie finds its job in other hands.
"""

import random
import re
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
    chance = random.Random(f"{seed}/{token.partition('-')[0]}")
    kind = chance.random()
    if kind < 0.85:
        seconds = chance.uniform(0.002, 0.04)
    elif kind < 0.94:
        seconds = chance.uniform(0.1, 0.4)
    else:
        seconds = chance.uniform(1.0, 2.5)  # longer than any lease that is not extended
    weights = [weight for weight, _ in _ENDINGS]
    ending = random.Random(f"{seed}/{token}").choices([ending for _, ending in _ENDINGS], weights)[0]
    return Behaviour(seconds, ending)


# Whether a report names its lease.
FENCED, LEGACY = "fenced", "legacy"


def picture_path(mode: str, token: str) -> str:
    """The path of a picture says under which lease it was made, and whether the report named that lease."""
    return f"/chaos/{mode}/{token}.png"


def failure_message(mode: str, token: str) -> str:
    """So does an error message."""
    return f"chaos {mode} {token}: failed on purpose"


class Origin(NamedTuple):
    """Where a picture or an error message comes from."""

    mode: str
    token: str


def origin_of(text: str) -> Origin | None:
    """The origin of a path or an error message; None when it is none of ours."""
    match = _ORIGIN.fullmatch(text)
    return Origin(*match.groups()) if match else None


_ORIGIN = re.compile(r"/?chaos[ /](\w+)[ /](\d+-\d+)(?:\.png|: failed on purpose)")
