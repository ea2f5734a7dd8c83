"""The findings of a run: each kind once, with the smallest case that shows it."""

import re
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from tests.fuzz.case import Answer, Case, Channel
from tests.fuzz.rpc_cases import METHODS, path_of

# Seconds for making one case smaller.
_SHRINKING = 12.0
_BAD_CODES = {"UNKNOWN", "INTERNAL", "DATA_LOSS"}
# 501: the RPC is not in this version. 503: documented for each route.
_DOCUMENTED = {"501", "503"}
_LEAK = re.compile(r"asyncpg|sqlalchemy|Traceback|internal error|Unexpected <class", re.IGNORECASE)
# The names of methods that the server does not have are free text to it.
_KNOWN_PATHS = {path_of(method) for method in METHODS}


@dataclass
class Finding:
    """Something that must not happen, and the cases that made it happen."""

    kind: str
    text: str
    # One case when a single one is known to cause it, all cases of the round otherwise.
    cases: list[Case]
    times: int = 1

    def show(self, path: Path) -> str:
        """Return the finding for a reader. The path is that of its first case."""
        if len(self.cases) != 1:
            return f"FINDING  {self.kind}\n  {self.text}\n  No single case of the {len(self.cases)} repeats it."
        again = f"python -m tests.fuzz --replay {path}"
        return f"FINDING  {self.kind}\n  {self.text}\n{self.cases[0].show()}\n  again: {again}"


def complaint(case: Case, answer: Answer) -> str | None:
    """Return what is wrong with an answer, in the same words for equal causes; None for a good one."""
    if case.channel is Channel.HTTP:
        is_bad = answer.status >= "500" and answer.status not in _DOCUMENTED
        return f"HTTP {answer.status} from {case.target}" if is_bad else None
    if answer.status in _BAD_CODES:
        return f"{answer.status} from {case.target}"
    if _LEAK.search(answer.text) and case.target in _KNOWN_PATHS:
        return f"{answer.status} from {case.target} shows what is inside"
    return None


async def shrink(case: Case, shows: Callable[[Case], Awaitable[bool]]) -> Case:
    """Return the smallest case that still shows the finding, as far as the time goes."""
    end = time.monotonic() + _SHRINKING
    smaller = case.smaller()
    while time.monotonic() < end and (candidate := next(smaller, None)) is not None:
        if candidate.pieces and await shows(candidate):
            case = candidate
            smaller = case.smaller()
    return case
