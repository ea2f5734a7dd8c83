"""The checks of a drill, after one primary after another was lost."""

from bisect import bisect_right
from collections.abc import Iterator, Sequence

import asyncpg

from tests.system.chaos.actors.clients import Subscriber
from tests.system.chaos.actors.journal import ACCEPTED, DELIVERED
from tests.system.chaos.checking.check_log import check_log, check_newest, events_of
from tests.system.chaos.checking.check_reports import check_leases, check_reports
from tests.system.chaos.checking.checks import JOBS, check_requests, check_tables
from tests.system.chaos.checking.evidence import Evidence


async def check_all(connection: asyncpg.Connection, evidence: Evidence, subscribers: Sequence[Subscriber]) -> list[str]:
    """Return what does not hold although no primary was promoted without the commits of the last one."""
    return [
        *await check_tables(connection),
        *check_requests(evidence, await connection.fetch(JOBS)),
        *check_leases(evidence),
        *check_reports(evidence),
        *check_log(evidence),
        *check_newest(evidence),
        *(problem for each in subscribers for problem in check_subscriber(evidence, each)),
        *evidence.surprises,
    ]


def check_subscriber(evidence: Evidence, subscriber: Subscriber) -> Iterator[str]:
    """Check that a subscriber missed no event without a reset, and got one reset for each new primary."""
    due = events_of(evidence, subscriber)
    positions = [event[0] for event in due]
    seen = resets = 0
    for _, what, *details in evidence.journals.get(subscriber.name, []):
        if what == "reset":
            resets += 1
            seen = bisect_right(positions, details[0])
        elif what == DELIVERED:
            expected = due[seen] if seen < len(due) else None
            if details != expected:
                yield f"{subscriber.name} saw {details} (seq, model, job, status), and {expected} was next"
                return
            seen += 1
    if seen != len(due):
        yield f"{subscriber.name} missed the last {len(due) - seen} events"
    if resets != len(evidence.turns):
        yield f"{subscriber.name} got {resets} resets by {len(evidence.turns)} new primaries"


def check_tokens(evidence: Evidence, taken_over: float) -> Iterator[str]:
    """Check that no result was accepted under a token of the lost history.

    The new history gives some numbers again. Then a job began once more under the same one, or was given back unbegun.
    """
    for worker, entries in evidence.journals.items():
        begun: dict[str, float] = {details[0]: at for at, what, *details in entries if what == "start"}
        for at, what, *details in entries:
            is_result = what == ACCEPTED and details[1] != "release"
            since = begun.get(details[0]) if is_result and at > taken_over else None
            if since is not None and since < taken_over:
                yield f"a result of {worker} was accepted under {details[0]}, which is of the history before"
