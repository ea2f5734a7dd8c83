"""The checks of leases, and of the reports that workers made under them."""

from collections import Counter
from collections.abc import Iterator

from tests.system.chaos.actors.behaviour import FENCED, LEGACY, failure_message, origin_of, picture_path
from tests.system.chaos.actors.journal import ACCEPTED
from tests.system.chaos.checking.evidence import Evidence, Report
from tests.system.chaos.checking.history import Lease, Step

_VERB_OF_END = {"completed": "complete", "failed": "fail", "released": "release"}


def check_leases(evidence: Evidence) -> Iterator[str]:
    """Check that each lease is given once, to one worker, within the attempts, and ends once; check each job's runs."""
    history = evidence.history
    yield from history.impossible
    for token, lease in history.leases.items():
        step = lease.claimed
        if (step.attempt or 0) > int(step.detail or 0):
            yield f"job {step.job_id}: attempt {step.attempt} began, and {step.detail} are allowed"
        if lease.ended is None:
            yield f"job {step.job_id}: lease {token} never ended"
        if len(evidence.starts[token]) > 1:
            yield f"job {step.job_id}: lease {token} was worked on by {' and '.join(evidence.starts[token])}"
        yield from _check_evidence(evidence, lease)
    for job_id, steps in history.of_job.items():
        yield from _check_run(job_id, steps)


def _check_evidence(evidence: Evidence, lease: Lease) -> Iterator[str]:
    """Check that the accepted report was made by the holder of the lease, and under that lease if it named one."""
    job_id, token = lease.claimed.job_id, lease.token
    if lease.end not in {"completed", "failed"} or lease.evidence is None:
        return
    origin = origin_of(lease.evidence)
    if origin is None or origin.token not in evidence.history.leases:
        yield f"job {job_id}: no worker of this run reported what lease {token} accepted: {lease.evidence!r}"
        return
    if origin.token != token and (origin.mode == FENCED or origin.token.partition("-")[0] != str(job_id)):
        yield f"job {job_id}: a result from a stale lease was accepted: lease {token} accepted {lease.evidence!r}"
    verb = _VERB_OF_END[lease.end]
    reported = {client for client, outcome in evidence.results[origin.token] if outcome.startswith(verb)}
    holder = evidence.history.leases[origin.token].claimed.worker
    if reported != {holder}:
        yield f"job {job_id}: a result of {holder} was accepted that {reported or 'no worker'} reported"


def _check_run(job_id: int, steps: list[Step]) -> Iterator[str]:
    """Check that a job ends once a run (a reset, retry or force begins a new one), and that its leases grow."""
    done: Step | None = None
    last_lease = 0
    for step in steps:
        if step.step == "asked again":
            done = None
        elif step.step == "claimed":
            if (step.lease_seq or 0) <= last_lease:
                yield f"job {job_id}: lease {step.lease_seq} was given after lease {last_lease}"
            last_lease = step.lease_seq or 0
        elif step.step == "recorded" and step.outcome is not None:
            if done:
                yield f"job {job_id}: it was {done.outcome} and then {step.outcome} in one run"
            done = step


def check_reports(evidence: Evidence) -> Iterator[str]:
    """Check that each answer to a report agrees with what PostgreSQL did, and that no report was accepted twice."""
    times = Counter[tuple[str, str]]()
    for report in evidence.reports:
        lease = evidence.history.leases.get(report.token)
        answer = f"job {report.job_id}: {report} was answered with {report.answer}"
        if lease is None:
            yield f"{answer}, and no worker had that lease"
        elif report.answer == ACCEPTED:
            times[report.worker, report.token] += 1
            if report.mode == FENCED and _VERB_OF_END.get(lease.end) != report.verb:
                yield f"{answer}, and the lease was {lease.end}"
        elif _is_wrongly_refused(evidence, report, lease):
            yield f"{answer}, and the lease was {lease.end} by it"
    for (worker, token), count in times.items():
        # unary calls may complete twice with the same token; the second changes nothing
        if count > 1 and not worker.startswith("json"):
            yield f"job {token.partition('-')[0]}: {count} results of {worker} were accepted under lease {token}"
    yield from _check_counts(evidence)


def is_stale(report: Report, lease: Lease | None) -> bool:
    """Return whether a refusal kept a late result out: its lease had ended otherwise, or by another report."""
    return report.answer != ACCEPTED and lease is not None and not _is_its_end(report, lease)


def _is_wrongly_refused(evidence: Evidence, report: Report, lease: Lease) -> bool:
    """Return whether a refusal is neither ALREADY_DONE nor a correct STALE.

    A failure that is repeated after its answer was lost is STALE: the job has a newer lease or none. A completion that
    is repeated is ALREADY_DONE, unless the job has been reset meanwhile, or another primary has taken over.
    """
    if report.answer != "STALE":
        return report.answer != "ALREADY_DONE"
    if report.verb != "complete" or report.mode != FENCED or not _is_its_end(report, lease):
        return False
    if any(lease.claimed.at < taken_over and report.at > failed for failed, taken_over in evidence.turns):
        return False
    return not any(
        step.step == "asked again" and step.number > lease.claimed.number
        for step in evidence.history.of_job[report.job_id]
    )


def _is_its_end(report: Report, lease: Lease) -> bool:
    if _VERB_OF_END.get(lease.end) != report.verb:
        return False
    text = {"complete": picture_path, "fail": failure_message}.get(report.verb)
    return text is None or lease.evidence in {None, text(report.mode, report.token)}


def _check_counts(evidence: Evidence) -> Iterator[str]:
    """Check that no more reports were accepted than attempts ended that way, in both modes together."""
    leases = evidence.history.leases.values()
    ends = Counter((lease.claimed.job_id, _VERB_OF_END.get(lease.end)) for lease in leases)
    accepted = {
        (report.job_id, report.verb, report.token, report.at if report.mode == LEGACY else 0)
        for report in evidence.reports
        if report.answer == ACCEPTED
    }
    for (job_id, verb), times in Counter((job_id, verb) for job_id, verb, *_ in accepted).items():
        if times > ends[job_id, verb]:
            yield f"job {job_id}: {verb} was accepted {times} times, and {ends[job_id, verb]} attempts ended so"
