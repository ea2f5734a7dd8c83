"""Retrying by hand: ended jobs start again, and waiting retries run at once."""

from collections.abc import Sequence

import asyncpg

from thumbq_server.domain.job import JobStatus, Retrial, RetryVerdict, Revival, revival
from thumbq_server.storage.postgres.errors import Unavailable
from thumbq_server.storage.postgres.lane import Lane
from thumbq_server.storage.statements import Statement
from thumbq_server.storage.transitions.revivals import Revived, carry_out

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
        known: dict[Revival, list[Revived]] = {Revival.RESET: [], Revival.RESTART: []}
        for row in await lane.fetch(RETRIABLE, wanted):
            status = JobStatus(row["status"])
            plan = revival(status, row["attempt_count"], shown=True, force=True)
            if plan in known:
                known[plan].append(_at_once(row))
            else:
                pending = status is JobStatus.PENDING
                verdicts[row["job_id"]] = RetryVerdict.ALREADY_PENDING if pending else RetryVerdict.PROCESSING
        wanted = []
        for plan, jobs in known.items():
            retried = await carry_out(lane, plan, jobs) if jobs else set()
            verdicts |= dict.fromkeys(retried, RetryVerdict.RETRIED)
            # a job that changed meanwhile is looked at again
            wanted += [job.job_id for job in jobs if job.job_id not in retried]
        if not wanted:
            return [Retrial(job_id, verdicts[job_id]) for job_id in job_ids]
    raise Unavailable("jobs kept changing while they were retried")


def _at_once(row: asyncpg.Record) -> Revived:
    """Return the job as it is, without a delay."""
    return Revived(
        job_id=row["job_id"],
        request_no=row["request_no"],
        lease_seq=row["lease_seq"],
        priority=row["priority"],
        max_attempts=row["max_attempts"],
        delay=0.0,
        run_at=row["run_at"],
        kind=row["kind"],
        options=row["options"],
    )
