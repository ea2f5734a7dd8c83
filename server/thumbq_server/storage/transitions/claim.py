"""Claims: jobs that are due go from `ready` to workers. One guarded statement."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from itertools import repeat
from typing import Any, NamedTuple

from thumbq_server.domain.job import ClaimedJob
from thumbq_server.storage.fragments import NOT_PAUSED
from thumbq_server.storage.postgres.lane import Lane
from thumbq_server.storage.statements import Statement

# `= ANY (ARRAY (... FOR UPDATE SKIP LOCKED))` and not `USING cte`: the latter was 40 % slower on a backlog
# (docs/decisions/0003-lanes.md). All jobs of a claim share one lease_seq. After that the columns stand in the
# order of ClaimedJob.
CLAIM = Statement(
    "claim",
    "limit bigint, sessions bigint[], lease_seconds integer[], claim_id bigint",
    f"""
    WITH due AS (
        DELETE FROM ready WHERE ctid = ANY (ARRAY (
            SELECT ctid FROM ready WHERE rank <= now() AND run_at <= now() AND {NOT_PAUSED}
             ORDER BY rank, job_id LIMIT $1 FOR UPDATE SKIP LOCKED))
        RETURNING *
    ), numbered AS MATERIALIZED (
        SELECT *, (row_number() OVER (ORDER BY rank, job_id))::int AS position FROM due
    ), number AS MATERIALIZED (
        SELECT nextval('claim_seq') AS lease_seq WHERE EXISTS (SELECT FROM numbered)
    ), leased AS (
        INSERT INTO leases (job_id, lease_seq, model_id, session, claimed_at, expires_at, claim_id, attempt)
        SELECT job_id, (SELECT lease_seq FROM number), model_id, ($2::bigint[])[position], now(),
               now() + ($3::int[])[position] * interval '1 second', $4, attempt + 1
          FROM numbered
    )
    SELECT now() AS claimed_at, (SELECT lease_seq FROM number), array_agg(job_id), array_agg(model_id),
           array_agg(model_hash), array_agg((attempt + 1)::smallint), array_agg(priority), array_agg(max_attempts),
           array_agg(created_at)
      FROM (SELECT * FROM numbered ORDER BY position) n
    """,
)


class ClaimRequest(NamedTuple):
    """The credits that a claim may use: an entry for each, in the order in which jobs are handed out.

    The order of the fields is that of the statements' parameters. A claim that broke off is found by its id.
    """

    sessions: Sequence[int]
    lease_seconds: Sequence[int]
    claim_id: int = 0

    def claimed(self, claimed_at: datetime, lease_seq: int, columns: Sequence[Sequence[Any]]) -> list[ClaimedJob]:
        """Return the claimed jobs; `columns` are the fields of ClaimedJob up to created_at, without the lease_seq."""
        ends = {seconds: claimed_at + timedelta(seconds=seconds) for seconds in set(self.lease_seconds)}
        expires_at = map(ends.__getitem__, self.lease_seconds)
        job_ids, *others = columns
        rows = zip(job_ids, repeat(lease_seq), *others, repeat(claimed_at), expires_at, strict=False)
        return list(map(ClaimedJob._make, rows))


NO_CLAIM = ClaimRequest((), ())


async def claim(lane: Lane, request: ClaimRequest) -> list[ClaimedJob]:
    """Claim one due job for each credit of `request`, in the order of rank. Each attempt is counted."""
    # columns instead of rows, and each time only once: a third of the CPU that rows cost here
    history = lane.history.version
    ((claimed_at, lease_seq, *found),) = await lane.fetch(CLAIM, len(request.sessions), *request)
    if lease_seq is None:
        return []
    lane.history.has_claimed(lease_seq, history)
    return request.claimed(claimed_at, lease_seq, found)
