"""The figures of a drill."""

from collections import defaultdict
from collections.abc import Iterator
from statistics import median

from tests.system.chaos.summary import counts
from tests.system.failover.drill import Drill
from tests.system.failover.hosts import N
from tests.system.failover.steps import Failover

_WIDTH = 64


def report(drill: Drill[N]) -> str:
    """Return the tables that are printed at the end."""
    lines = ["", f"{'primaries lost':32} {len(drill.failovers):9,}"]
    if drill.evidence is not None:
        lines += counts(drill.evidence)
    return "\n".join([*lines, "", *_faults(drill.failovers), "", *_steps(drill.failovers)])


def _faults(failovers: list[Failover]) -> Iterator[str]:
    yield "Seconds, as median and maximum: from the fault until a standby is promoted; from there until the cluster"
    yield "takes a write; and from the promotion until the last of the clients is served."
    yield f"{'fault':{_WIDTH}} {'times':>5} {'promoted':>13} {'a write':>13} {'all served':>13}"
    by_fault: dict[str, list[Failover]] = defaultdict(list)
    for failover in failovers:
        by_fault[failover.fault.value].append(failover)
    for fault, same in sorted(by_fault.items()):
        yield _line(fault, same)
    if failovers:
        yield _line("all", failovers)


def _line(name: str, failovers: list[Failover]) -> str:
    promoted = _middle_and_most([each.promoted - each.at for each in failovers])
    writable = _middle_and_most([each.writable - each.promoted for each in failovers])
    served = _middle_and_most([each.until_served for each in failovers])
    return f"{name:{_WIDTH}} {len(failovers):5} {promoted} {writable} {served}"


def _steps(failovers: list[Failover]) -> Iterator[str]:
    yield "Seconds from the promotion, as median and maximum, for the first and for the last that takes a step."
    yield f"{'step':{_WIDTH}} {'times':>5} {'first':>13} {'last':>13}"
    names = dict.fromkeys(step for failover in failovers for step in failover.steps)
    for name in names:
        taken = [list(failover.steps[name].values()) for failover in failovers if failover.steps.get(name)]
        firsts, lasts = _middle_and_most(list(map(min, taken))), _middle_and_most(list(map(max, taken)))
        yield f"{name:{_WIDTH}} {len(taken):5} {firsts} {lasts}"


def _middle_and_most(seconds: list[float]) -> str:
    return f"{median(seconds):6.2f} {max(seconds):6.2f}" if seconds else f"{'-':>13}"
