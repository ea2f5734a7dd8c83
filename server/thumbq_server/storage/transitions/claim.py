"""Claims: jobs that are due go from `ready` to workers. One guarded statement."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from itertools import repeat
from typing import Any, NamedTuple

from thumbq_server.domain.job import ClaimedJob
from thumbq_server.storage.postgres.lane import Lane
from thumbq_server.storage.statements import Statement

# `= ANY (ARRAY (... FOR UPDATE SKIP LOCKED))` and not `USING cte`: the latter was 40 % slower on a backlog
# (docs/decisions/0003-lanes.md). After claimed_at the columns stand in the order of ClaimedJob.
CLAIM = Statement(
    "claim",
    "limit bigint, sessions bigint[], lease_seconds integer[], claim_id bigint",
    """
    WITH due AS (
        DELETE FROM ready WHERE job_id = ANY (ARRAY (
            SELECT job_id FROM ready WHERE rank <= now() AND run_at <= now()
             ORDER BY rank, job_id LIMIT $1 FOR UPDATE SKIP LOCKED))
        RETURNING job_id, rank, run_at, attempt, lease_seq
    ), numbered AS (
        SELECT *, (row_number() OVER (ORDER BY rank, job_id))::int AS position FROM due
    ), leased AS (
        INSERT INTO leases (job_id, lease_seq, worker, attempt, rank, run_at, claimed_at, expires_at, claim_id)
        SELECT job_id, lease_seq + 1, ($2::bigint[])[position], attempt + 1, rank, run_at, now(),
               now() + ($3::int[])[position] * interval '1 second', $4
          FROM numbered
        RETURNING job_id, lease_seq, attempt
    ), claimed AS (
        SELECT l.*, j.model_id, j.model_hash, j.priority, j.max_attempts, j.created_at
          FROM leased l JOIN numbered n USING (job_id) JOIN jobs j ON j.id = l.job_id
         ORDER BY n.position
    )
    SELECT now() AS claimed_at, array_agg(job_id), array_agg(lease_seq), array_agg(model_id), array_agg(model_hash),
           array_agg(attempt), array_agg(priority), array_agg(max_attempts), array_agg(created_at)
      FROM claimed
    """,
)


class ClaimRequest(NamedTuple):
    """The credits that a claim may use: an entry for each, in the order in which jobs are handed out.

    The order of the fields is that of the statements' parameters. A claim that broke off is found by its id.
    """

    sessions: Sequence[int]
    lease_seconds: Sequence[int]
    claim_id: int = 0

    def claimed(self, claimed_at: datetime, columns: Sequence[Sequence[Any]]) -> list[ClaimedJob]:
        """Return the claimed jobs; `columns` are the first fields of ClaimedJob, up to created_at."""
        ends = {seconds: claimed_at + timedelta(seconds=seconds) for seconds in set(self.lease_seconds)}
        expires_at = map(ends.__getitem__, self.lease_seconds)
        return list(map(ClaimedJob._make, zip(*columns, repeat(claimed_at), expires_at, strict=False)))


NO_CLAIM = ClaimRequest((), ())


async def claim(lane: Lane, request: ClaimRequest) -> list[ClaimedJob]:
    """Claim one due job for each credit of `request`, in the order of rank. Each gets a new lease_seq and attempt."""
    # columns instead of rows, and each time only once: a third of the CPU that rows cost here
    ((claimed_at, *found),) = await lane.fetch(CLAIM, len(request.sessions), *request)
    return request.claimed(claimed_at, found) if found[0] is not None else []
