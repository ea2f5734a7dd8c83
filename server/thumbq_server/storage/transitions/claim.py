"""Claims: jobs that are due go from `ready` to workers. Each is one guarded statement."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from itertools import repeat
from types import MappingProxyType
from typing import Any, NamedTuple

from thumbq_server.domain.job import MODEL, ClaimedJob
from thumbq_server.storage.fragments import NOT_PAUSED
from thumbq_server.storage.postgres.lane import Lane
from thumbq_server.storage.statements import Statement

NO_OPTIONS: Mapping[int, str] = MappingProxyType({})


# `= ANY (ARRAY (... FOR UPDATE SKIP LOCKED))` and not `USING cte`: the latter was 40 % slower on a backlog
# (docs/decisions/0003-lanes.md). All jobs of a claim share one lease_seq. After that the columns stand in the
# order of ClaimedJob, up to created_at; few jobs have options, so those name their jobs.
def _claim(due: str, place: str, kinds: str) -> str:
    return f"""
    WITH due AS (
        DELETE FROM ready WHERE ctid = ANY (ARRAY ({due}))
        RETURNING *
    ), numbered AS MATERIALIZED (
        SELECT *, (row_number() OVER (ORDER BY {place}, job_id))::int AS position FROM due
    ), number AS MATERIALIZED (
        SELECT nextval('claim_seq') AS lease_seq WHERE EXISTS (SELECT FROM numbered)
    ), leased AS (
        INSERT INTO leases (job_id, lease_seq, model_id, session, claimed_at, expires_at, claim_id, attempt)
        SELECT job_id, (SELECT lease_seq FROM number), model_id, ($2::bigint[])[position], now(),
               now() + ($3::int[])[position] * interval '1 second', $4, attempt + 1
          FROM numbered
    )
    SELECT now() AS claimed_at, (SELECT lease_seq FROM number), {kinds} AS kinds,
           array_agg(job_id) FILTER (WHERE options IS NOT NULL) AS with_options,
           array_agg(options) FILTER (WHERE options IS NOT NULL) AS options,
           array_agg(job_id), array_agg(model_id), array_agg(model_hash), array_agg((attempt + 1)::smallint),
           array_agg(priority), array_agg(max_attempts), array_agg(created_at)
      FROM (SELECT * FROM numbered ORDER BY position) n
    """


_PARAMETERS = "limit bigint, sessions bigint[], lease_seconds integer[], claim_id bigint"

CLAIM = Statement(
    "claim",
    _PARAMETERS,
    _claim(
        f"""
            SELECT ctid FROM ready WHERE rank <= now() AND run_at <= now() AND {NOT_PAUSED}
             ORDER BY rank, job_id LIMIT $1 FOR UPDATE SKIP LOCKED""",
        place="rank",
        kinds="NULL::text[]",
    ),
)

# Each kind is one short walk through its index, however many jobs of others wait. Rows that are locked here and not
# taken are free again at the commit.
CLAIM_OF_KINDS = Statement(
    "claim_of_kinds",
    f"{_PARAMETERS}, kinds text[], models boolean",
    _claim(
        f"""
            SELECT row_id FROM (
                SELECT r.* FROM unnest($5::text[]) AS k (kind) CROSS JOIN LATERAL (
                    SELECT ctid AS row_id, kind_rank AS place, job_id FROM ready
                     WHERE kind = k.kind AND kind_rank <= now() AND run_at <= now() AND {NOT_PAUSED}
                     ORDER BY kind_rank, job_id LIMIT $1 FOR UPDATE SKIP LOCKED) r
                 UNION ALL
                SELECT * FROM (
                    SELECT ctid AS row_id, rank AS place, job_id FROM ready
                     WHERE rank <= now() AND run_at <= now() AND $6 AND {NOT_PAUSED}
                     ORDER BY rank, job_id LIMIT $1 FOR UPDATE SKIP LOCKED) m) found
             ORDER BY place, job_id LIMIT $1""",
        place="coalesce(kind_rank, rank)",
        kinds="array_agg(kind)",
    ),
)


class ClaimRequest(NamedTuple):
    """The credits that a claim may use: an entry for each, in the order in which jobs are handed out.

    The order of the fields is that of the statements' parameters. A claim that broke off is found by its id.
    """

    sessions: Sequence[int]
    lease_seconds: Sequence[int]
    claim_id: int = 0

    def claimed(
        self,
        claimed_at: datetime,
        lease_seq: int,
        columns: Sequence[Sequence[Any]],
        *,
        kinds: Iterable[str] = repeat(MODEL),
        options: Mapping[int, str] = NO_OPTIONS,
    ) -> list[ClaimedJob]:
        """Return the claimed jobs; `columns` are the fields of ClaimedJob up to created_at, without the lease_seq."""
        ends = {seconds: claimed_at + timedelta(seconds=seconds) for seconds in set(self.lease_seconds)}
        expires_at = map(ends.__getitem__, self.lease_seconds)
        job_ids, *others = columns
        of_each = map(options.get, job_ids) if options else repeat(None)
        moments = (repeat(claimed_at), expires_at)
        # traces are read afterwards, if there are any
        untraced = repeat(None)
        rows = zip(job_ids, repeat(lease_seq), *others, kinds, of_each, *moments, untraced, strict=False)
        return list(map(ClaimedJob._make, rows))


NO_CLAIM = ClaimRequest((), ())


async def claim(lane: Lane, request: ClaimRequest, kinds: Collection[str] = ()) -> list[ClaimedJob]:
    """Claim one due job for each credit of `request`, in the order of rank. Each attempt is counted.

    Without `kinds` the jobs are Models.
    """
    # columns instead of rows, and each time only once: a third of the CPU that rows cost here
    history = lane.history.version
    limit = len(request.sessions)
    if kinds:
        others = [kind for kind in kinds if kind != MODEL]
        rows = await lane.fetch(CLAIM_OF_KINDS, limit, *request, others, MODEL in kinds)
    else:
        rows = await lane.fetch(CLAIM, limit, *request)
    ((claimed_at, lease_seq, found_kinds, with_options, options, *found),) = rows
    if lease_seq is None:
        return []
    lane.history.has_claimed(lease_seq, history)
    return request.claimed(
        claimed_at,
        lease_seq,
        found,
        kinds=[kind or MODEL for kind in found_kinds] if found_kinds else repeat(MODEL),
        options=dict(zip(with_options, options, strict=True)) if with_options else NO_OPTIONS,
    )
