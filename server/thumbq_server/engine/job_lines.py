"""Lines of the log about single jobs. They are written while `debug` is on, and cost a look a batch otherwise."""

import logging
from collections.abc import Sequence

import structlog

from thumbq_server.domain.columns import Completions
from thumbq_server.domain.job import ClaimedJob, Completion, Enqueued, Failure, NewJob, Reported, Token, Verdict

log = structlog.get_logger()
_level = logging.getLogger("thumbq")


def enqueued(jobs: Sequence[NewJob], answers: Sequence[Enqueued]) -> None:
    """Name the jobs that producers asked for."""
    if _level.isEnabledFor(logging.DEBUG):
        for job, answer in zip(jobs, answers, strict=True):
            log.debug("job.enqueued", job_id=answer.job_id, model_id=job.model_id, outcome=answer.outcome.value)


def claimed(jobs: Sequence[ClaimedJob]) -> None:
    """Name the jobs that workers get."""
    if _level.isEnabledFor(logging.DEBUG):
        for job in jobs:
            fields: dict[str, object] = {"attempt": job.attempt, "lease": job.lease_seq}
            if job.trace:
                fields["trace_id"] = job.trace.trace_id
            log.debug("job.claimed", job_id=job.job_id, model_id=job.model_id, **fields)


def completed(items: Sequence[Completion], answers: Sequence[Reported]) -> None:
    """Name the jobs that workers report as done."""
    if _level.isEnabledFor(logging.DEBUG):
        for item, (verdict, model_id) in zip(items, answers, strict=True):
            log.debug("job.completed", job_id=item.job_id, model_id=model_id, verdict=verdict.value)


def completed_columns(groups: Sequence[Completions], answers: Sequence[Sequence[tuple[Token, Verdict]]]) -> None:
    """Name the jobs that workers report as done in columns, where the answers name only what was refused."""
    if _level.isEnabledFor(logging.DEBUG):
        for group, refused in zip(groups, answers, strict=True):
            verdicts = {token.job_id: verdict for token, verdict in refused}
            for job_id in group.job_ids:
                log.debug("job.completed", job_id=job_id, verdict=verdicts.get(job_id, Verdict.OK).value)


def failed(items: Sequence[Failure], answers: Sequence[Reported]) -> None:
    """Name the jobs whose attempts failed, and why."""
    if _level.isEnabledFor(logging.DEBUG):
        for item, (verdict, model_id) in zip(items, answers, strict=True):
            log.debug(
                "job.failed", job_id=item.job_id, model_id=model_id, verdict=verdict.value, error=item.error_message
            )


def released(tokens: Sequence[Token], verdicts: Sequence[Verdict]) -> None:
    """Name the jobs that went back."""
    if _level.isEnabledFor(logging.DEBUG):
        for token, verdict in zip(tokens, verdicts, strict=True):
            log.debug("job.released", job_id=token.job_id, verdict=verdict.value)
