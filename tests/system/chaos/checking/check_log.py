"""The checks of the notification log, and of the events that each subscriber saw."""

from collections import Counter
from collections.abc import Iterator
from typing import Any

from tests.system.chaos.actors.clients import Subscriber
from tests.system.chaos.actors.journal import DELIVERED
from tests.system.chaos.checking.evidence import Evidence
from tests.system.chaos.checking.history import Step


def check_log(evidence: Evidence) -> Iterator[str]:
    """Check that the log is contiguous, and announces each visible outcome once, in the commit of the outcome."""
    history = evidence.history
    announced = [step for step in history.steps if step.step == "announced"]
    positions = sorted(step.seq or 0 for step in announced)
    if positions != list(range(1, len(positions) + 1)):
        wrong = [seq for seq, times in Counter(positions).items() if times > 1]
        missing = sorted(set(range(1, max(positions) + 1)) - set(positions))
        yield f"the log has {missing[:10]} missing and {wrong[:10]} twice"
    for (xact, job_id), steps in history.of_commit.items():
        announcements = Counter(_announcement(step) for step in steps if step.step == "announced")
        due = Counter(change for step in steps if (change := _visible_change(step, steps)) is not None)
        if announcements != due:
            yield f"job {job_id}: transaction {xact} should announce {dict(due)}, and announced {dict(announcements)}"


def check_newest(evidence: Evidence) -> Iterator[str]:
    """Check that no model goes back to the outcome of an older request."""
    history = evidence.history
    model_of = {step.job_id: (step.detail or "").partition("/")[0] for step in history.steps if step.step == "created"}
    newest: dict[str, Step] = {}
    for step in history.steps:
        if step.step == "shown":
            before = newest.setdefault(model_of[step.job_id], step)
            if (step.request_no or 0) < (before.request_no or 0):
                yield f"job {step.job_id}: it replaced what job {before.job_id} shows, which was requested later"
            newest[model_of[step.job_id]] = step


def _announcement(step: Step) -> tuple[str | None, int | None]:
    # a cancel announces the thumbnail that the model has then
    return (step.outcome, step.attempt) if step.outcome in {"Ready", "Failed", "Pending"} else ("Cancelled", None)


def _visible_change(step: Step, steps: list[Step]) -> tuple[str | None, int | None] | None:
    match step.step:
        case "shown":
            return step.outcome, step.attempt
        case "created" | "asked again":
            return "Pending", 0
        case "recorded" if step.outcome == "Cancelled":
            announced = next((each for each in steps if each.step == "announced"), None)
            return _announcement(announced) if announced else ("Cancelled", None)
    return None


def events_of(evidence: Evidence, subscriber: Subscriber) -> list[list[Any]]:
    """Return the events of a subscriber's filter in order: seq, model, job and status of each."""
    wanted = set(subscriber.models)
    return [
        [step.seq, int(step.detail or 0), step.job_id, step.outcome]
        for step in sorted(
            (step for step in evidence.history.steps if step.step == "announced"), key=lambda step: step.seq or 0
        )
        if not wanted or int(step.detail or 0) in wanted
    ]


def check_subscriber(evidence: Evidence, subscriber: Subscriber) -> Iterator[str]:
    """Check that a subscriber saw each event of its filter once and in order, from the first to the last of the log."""
    expected = events_of(evidence, subscriber)
    entries = evidence.journals.get(subscriber.name, [])
    seen = [details for _, what, *details in entries if what == DELIVERED]
    yield from (
        f"{subscriber.name} got a reset to {details[0]}, though the log reaches back to its beginning"
        for _, what, *details in entries
        if what == "reset"
    )
    for index, (have, want) in enumerate(zip(seen, expected, strict=False)):
        if have != want:
            yield f"{subscriber.name}: event {index + 1} should be {want} (seq, model, job, status), and was {have}"
            return
    if len(seen) != len(expected):
        yield f"{subscriber.name} saw {len(seen)} events of {len(expected)}"
