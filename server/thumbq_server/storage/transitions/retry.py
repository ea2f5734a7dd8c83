"""Retrying by hand: ended jobs start again, and waiting retries run at once."""

from collections.abc import Sequence

import asyncpg

from thumbq_server.domain.job import Revival, revival
from thumbq_server.storage.fragments import columns
from thumbq_server.storage.postgres.errors import Unavailable
from thumbq_server.storage.postgres.lane import Lane
from thumbq_server.storage.transitions.revive import STATEMENTS

_STATES = """
    SELECT id AS job_id, status, attempt_count, request_no, lease_seq, priority, max_attempts
      FROM job_states WHERE id = ANY ($1::bigint[]) ORDER BY id
"""

_ROUNDS = 20


async def retry(lane: Lane, job_ids: Sequence[int]) -> list[int]:
    """Start ended jobs anew, and let waiting retries run at once. Returns those that were; Processing jobs are not."""
    done: list[int] = []
    wanted = sorted(set(job_ids))
    for _ in range(_ROUNDS):
        plans: dict[Revival, list[asyncpg.Record]] = {Revival.RESET: [], Revival.RESTART: []}
        for row in await lane.fetch(_STATES, wanted):
            plan = revival(row["status"], row["attempt_count"], shown=True, force=True)
            plans.setdefault(plan, []).append(row)
        wanted = []
        for plan in (Revival.RESET, Revival.RESTART):
            inputs = [
                (row["job_id"], row["request_no"], row["lease_seq"], row["priority"], row["max_attempts"], 0.0)
                for row in plans[plan]
            ]
            if inputs:
                retried = [row["job_id"] for row in await lane.fetch(STATEMENTS[plan], *columns(inputs, 6))]
                done += retried
                # what changed under our hands is looked at again
                wanted += [row["job_id"] for row in plans[plan] if row["job_id"] not in retried]
        if not wanted:
            return done
    raise Unavailable("jobs kept changing while they were retried")
