"""The behaviour of a handler, drawn from the seed, so that a run can be repeated.

A slow model is slow in each attempt, so that the late result of a zombie meets the lease of another worker.
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


def lease_of(token: str) -> str:
    """Return a token without the history that it belongs to: the job and the number of its lease."""
    return "-".join(token.split("-")[:2])


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


# The modes of a report: a fenced one names its lease, a legacy one does not.
FENCED, LEGACY = "fenced", "legacy"


def picture_path(mode: str, token: str) -> str:
    """Return a path that contains the lease of the picture and the mode of the report."""
    return f"/chaos/{mode}/{token}.png"


def failure_message(mode: str, token: str) -> str:
    """Return an error message that contains the lease of the attempt and the mode of the report."""
    return f"chaos {mode} {token}: failed on purpose"


class Origin(NamedTuple):
    """The report that a picture's path or an error message comes from."""

    mode: str
    token: str


def origin_of(text: str) -> Origin | None:
    """Return the origin of a path or an error message; None when no handler of a run made it."""
    match = _ORIGIN.fullmatch(text)
    return Origin(*match.groups()) if match else None


_ORIGIN = re.compile(r"/?chaos[ /](\w+)[ /](\d+-\d+)(?:\.png|: failed on purpose)")
