"""The figures of a drill."""

from collections import defaultdict
from collections.abc import Iterator
from statistics import median

from tests.system.chaos.checking.evidence import Evidence
from tests.system.chaos.summary import counts
from tests.system.failover.drill import Drill, Failover


def report(drill: Drill) -> str:
    """Return the tables that are printed at the end."""
    lines = ["", f"{'primaries lost':32} {len(drill.failovers):9,}"]
    if drill.evidence is not None:
        lines += counts(drill.evidence)
        waits = _middle_and_most(list(_first_answers(drill.failovers, drill.evidence)))
        lines.append(f"{'seconds from a promotion until a producer has an answer':64} {waits}")
    return "\n".join([*lines, "", *_failovers(drill.failovers)])


def _first_answers(failovers: list[Failover], evidence: Evidence) -> Iterator[float]:
    answers = [at for at, what, *_ in evidence.journals["producers"] if what == "enqueued"]
    for failover in failovers:
        after = [at - failover.promoted for at in answers if at > failover.promoted]
        yield from after[:1]


def _failovers(failovers: list[Failover]) -> Iterator[str]:
    yield "Seconds, as median and maximum: from the fault until a standby is promoted; from there until the cluster"
    yield "takes a write; and from there until the last of the clients is served."
    yield f"{'fault':64} {'times':>5} {'promoted':>13} {'a write':>13} {'all served':>13}"
    by_fault: dict[str, list[Failover]] = defaultdict(list)
    for failover in failovers:
        by_fault[failover.fault.value].append(failover)
    for fault, same in sorted(by_fault.items()):
        yield _line(fault, same)
    if failovers:
        yield _line("all", failovers)
        clients = list(failovers[0].recoveries)
        yield ""
        for client in clients:
            seconds = [failover.recoveries[client] for failover in failovers if client in failover.recoveries]
            yield f"{client:64} {len(seconds):5} {'':13} {'':13} {_middle_and_most(seconds)}"


def _line(name: str, failovers: list[Failover]) -> str:
    promoted = _middle_and_most([each.promoted - each.at for each in failovers])
    writable = _middle_and_most([each.writable - each.promoted for each in failovers])
    served = _middle_and_most([max(each.recoveries.values(), default=0.0) for each in failovers])
    return f"{name:64} {len(failovers):5} {promoted} {writable} {served}"


def _middle_and_most(seconds: list[float]) -> str:
    return f"{median(seconds):6.1f} {max(seconds):6.1f}" if seconds else f"{'-':>13}"
