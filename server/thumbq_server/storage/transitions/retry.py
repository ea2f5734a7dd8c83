"""Retrying by hand: ended jobs start again, and waiting retries run at once."""

from collections.abc import Sequence
from typing import Any

from thumbq_server.domain.job import JobStatus, Retrial, RetryVerdict, Revival, revival
from thumbq_server.storage.postgres.errors import Unavailable
from thumbq_server.storage.postgres.lane import Lane
from thumbq_server.storage.statements import Statement
from thumbq_server.storage.transitions.revive import carry_out

RETRIABLE = Statement(
    "retry_find",
    "job_ids bigint[]",
    """
    SELECT id AS job_id, status, attempt_count, request_no, lease_seq, priority, max_attempts, run_at,
           nullif(kind, 'Model') AS kind, options
      FROM job_records WHERE id = ANY ($1) ORDER BY id
    """,
)

_ROUNDS = 20


async def retry(lane: Lane, job_ids: Sequence[int]) -> list[Retrial]:
    """Start ended jobs again, and let waiting retries run at once. The answers are in order."""
    verdicts = dict.fromkeys(job_ids, RetryVerdict.NOT_FOUND)
    wanted = sorted(verdicts)
    for _ in range(_ROUNDS):
        inputs: dict[Revival, list[tuple[Any, ...]]] = {Revival.RESET: [], Revival.RESTART: []}
        for row in await lane.fetch(RETRIABLE, wanted):
            status = JobStatus(row["status"])
            plan = revival(status, row["attempt_count"], shown=True, force=True)
            if plan in inputs:
                request = (
                    row["request_no"],
                    row["lease_seq"],
                    row["priority"],
                    row["max_attempts"],
                    0.0,
                    row["run_at"],
                    row["kind"],
                    row["options"],
                )
                inputs[plan].append((row["job_id"], *request))
            else:
                pending = status is JobStatus.PENDING
                verdicts[row["job_id"]] = RetryVerdict.ALREADY_PENDING if pending else RetryVerdict.PROCESSING
        wanted = []
        for plan, known in inputs.items():
            retried = await carry_out(lane, plan, known) if known else set()
            verdicts |= dict.fromkeys(retried, RetryVerdict.RETRIED)
            # a job that changed meanwhile is looked at again
            wanted += [job_id for job_id, *_ in known if job_id not in retried]
        if not wanted:
            return [Retrial(job_id, verdicts[job_id]) for job_id in job_ids]
    raise Unavailable("jobs kept changing while they were retried")
