"""The summary of a run: counts, and the longest recovery of each kind of fault."""

from collections import Counter, defaultdict
from collections.abc import Iterator
from itertools import pairwise

from tests.system.chaos.actors.journal import ACCEPTED, DELIVERED
from tests.system.chaos.checking.check_reports import is_stale
from tests.system.chaos.checking.evidence import Evidence
from tests.system.chaos.faults import Strike


def summary(strikes: list[Strike], evidence: Evidence) -> str:
    """Return the table that is printed at the end."""
    return "\n".join([*counts(evidence), "", *_faults(strikes, evidence)])


def counts(evidence: Evidence) -> Iterator[str]:
    """Yield a line for each kind of work that the run did."""
    history = evidence.history
    ends = Counter(lease.end for lease in history.leases.values())
    stale = Counter(
        report.worker.partition("-")[0]
        for report in evidence.reports
        if is_stale(report, history.leases.get(report.token))
    )
    facts = {
        "jobs": sum(step.step == "created" for step in history.steps),
        "requests acknowledged": len(evidence.enqueued),
        "attempts": len(history.leases),
        "results accepted": ends["completed"] + ends["failed"],
        "  of them pictures": ends["completed"],
        "leases expired": ends["expired"],
        "jobs given back": ends["released"],
        "attempts cancelled": ends["cancelled"],
        "stale results refused": sum(stale.values()),
        "notifications": sum(step.step == "announced" for step in history.steps),
        "events delivered": sum(entry[1] == DELIVERED for entries in evidence.journals.values() for entry in entries),
    }
    for name, count in facts.items():
        yield f"{name:32} {count:9,}"


def _faults(strikes: list[Strike], evidence: Evidence) -> Iterator[str]:
    yield "Recovery counts from the signal, for faults that came alone."
    yield f"{'fault':32} {'times':>6} {'longest outage':>15} {'longest recovery':>17}"
    by_kind: dict[str, list[Strike]] = defaultdict(list)
    for strike in strikes:
        by_kind[strike.kind].append(strike)
    served = {client: _served(evidence, client) for client in evidence.journals}
    for kind in sorted(by_kind):
        same = by_kind[kind]
        outage = max(strike.over - strike.at for strike in same)
        recoveries = [_recovery(strike, evidence, served) for strike in same if not strike.in_company]
        recovery = f"{max(recoveries):15.1f} s" if recoveries else f"{'-':>17}"
        yield f"{kind:32} {len(same):6} {outage:13.1f} s {recovery}"


def _served(evidence: Evidence, client: str) -> list[float]:
    return [entry[0] for entry in evidence.journals[client] if entry[1] in {ACCEPTED, DELIVERED}]


def _recovery(strike: Strike, evidence: Evidence, served: dict[str, list[float]]) -> float:
    """Return the seconds from the signal until the recovery.

    After a fault of a worker: until each job that it held had ended or had a new lease. After any other fault: until
    the last of the clients that it hit had a result accepted or an event delivered, after its longest interruption.
    """
    if strike.worker is not None:
        return max((moment - strike.at for moment in _taken_over(strike, evidence)), default=0.0)
    return max((_interrupted_until(served[name], strike) - strike.at for name in strike.witnesses), default=0.0)


def _taken_over(strike: Strike, evidence: Evidence) -> Iterator[float]:
    history = evidence.history
    for lease in history.leases.values():
        end = lease.ended
        if lease.claimed.worker == strike.worker and end and lease.claimed.at < strike.at < end.at:
            gone_on = (
                step.at
                for step in history.of_job[end.job_id]
                if step.number > end.number and step.step in {"claimed", "recorded"}
            )
            settled = lease.recorded is not None and lease.recorded.outcome is not None
            yield end.at if settled else next(gone_on, end.at)


def _interrupted_until(moments: list[float], strike: Strike) -> float:
    """Return the end of the longest interruption that overlaps the outage."""
    longest, until = 0.0, strike.at
    for before, after in pairwise(moments):
        if after > strike.at and before < strike.over and after - max(before, strike.at) > longest:
            longest, until = after - max(before, strike.at), after
    return until
