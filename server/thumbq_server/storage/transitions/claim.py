"""Claims: jobs that are due go from `ready` to workers. Each is one guarded statement."""

import struct
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import NamedTuple

import asyncpg

from thumbq_server.domain.columns import NOTHING, Claimed, microseconds, one_or_all
from thumbq_server.domain.job import MODEL
from thumbq_server.storage.fragments import NOT_PAUSED
from thumbq_server.storage.postgres.lane import Lane
from thumbq_server.storage.statements import Statement

NO_OPTIONS: Mapping[int, str] = MappingProxyType({})
# PostgreSQL counts microseconds from here.
_EPOCH_OF_POSTGRES = microseconds(datetime(2000, 1, 1, tzinfo=UTC))


# `= ANY (ARRAY (... FOR UPDATE SKIP LOCKED))` and not `USING cte`: the latter was 40 % slower on a backlog
# (docs/decisions/0003-lanes.md). All jobs of a claim share one lease_seq. The answer has a column for each field of
# Claimed, packed where that is cheaper to read; few jobs have options, so those name their jobs.
def _claim(due: str, place: str, kinds: str, *, several: bool) -> str:
    """Return the statement for one worker, or for `several`: each job goes to the worker at its position."""
    taker = "position" if several else "1"
    numbered = f"""numbered AS MATERIALIZED (
        SELECT *, (row_number() OVER (ORDER BY {place}, job_id))::int AS position FROM due
    ), """
    return f"""
    WITH due AS (
        DELETE FROM ready WHERE ctid = ANY (ARRAY ({due}))
        RETURNING *
    ), {numbered if several else ""}number AS MATERIALIZED (
        SELECT nextval('claim_seq') AS lease_seq WHERE EXISTS (SELECT FROM due)
    ), leased AS (
        INSERT INTO leases (job_id, lease_seq, model_id, session, claimed_at, expires_at, claim_id, attempt)
        SELECT job_id, (SELECT lease_seq FROM number), model_id, ($2::bigint[])[{taker}], now(),
               now() + ($3::int[])[{taker}] * interval '1 second', $4, attempt + 1
          FROM {"numbered" if several else "due"}
    )
    SELECT now() AS claimed_at, (SELECT lease_seq FROM number), {kinds} AS kinds,
           array_agg(job_id) FILTER (WHERE options IS NOT NULL) AS with_options,
           array_agg(options) FILTER (WHERE options IS NOT NULL) AS options,
           array_agg(job_id) AS job_ids, array_agg(model_id) AS model_ids, string_agg(model_hash, '') AS model_hashes,
           array_agg(attempt) AS attempts, array_agg(priority) AS priorities, array_agg(max_attempts) AS max_attempts,
           string_agg(timestamptz_send(created_at), '') AS created_at
      FROM (SELECT * FROM due ORDER BY {place}, job_id) n
    """


_PARAMETERS = "limit bigint, sessions bigint[], lease_seconds integer[], claim_id bigint"
_MODELS = f"""
            SELECT ctid FROM ready WHERE rank <= now() AND run_at <= now() AND {NOT_PAUSED}
             ORDER BY rank, job_id LIMIT $1 FOR UPDATE SKIP LOCKED"""

# For one worker. To number the jobs, and to look each up among the takers, would cost a tenth of the claim.
CLAIM = Statement("claim", _PARAMETERS, _claim(_MODELS, "rank", "NULL::text[]", several=False))

CLAIM_FOR_SEVERAL = Statement("claim_for_several", _PARAMETERS, _claim(_MODELS, "rank", "NULL::text[]", several=True))

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
        several=True,
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
        *,
        job_ids: Sequence[int],
        model_ids: Sequence[int],
        model_hashes: Sequence[bytes],
        priorities: Sequence[int],
        max_attempts: Sequence[int],
        options: Mapping[int, str] = NO_OPTIONS,
    ) -> Claimed:
        """Return new jobs that are claimed at once. There may be more jobs in the columns than credits."""
        count = min(len(job_ids), len(self.sessions))
        return Claimed(
            lease_seq,
            claimed_at,
            job_ids[:count],
            model_ids[:count],
            b"".join(model_hashes[:count]),
            self.expiries(claimed_at, count),
            (1,),
            one_or_all(priorities[:count]),
            one_or_all(max_attempts[:count]),
            [microseconds(claimed_at)],
            options=options,
        )

    def expiries(self, claimed_at: datetime, count: int) -> Sequence[datetime]:
        """Return when the leases of `count` jobs end; one entry when all end together."""
        seconds = one_or_all(self.lease_seconds[:count])
        ends = {some: claimed_at + timedelta(seconds=some) for some in set(seconds)}
        return [ends[some] for some in seconds]


NO_CLAIM = ClaimRequest((), ())


async def claim(lane: Lane, request: ClaimRequest, kinds: Collection[str] = ()) -> Claimed:
    """Claim one due job for each credit of `request`, in the order of rank. Each attempt is counted.

    Without `kinds` the jobs are Models.
    """
    history = lane.history.version
    limit = len(request.sessions)
    if kinds:
        others = [kind for kind in kinds if kind != MODEL]
        (row,) = await lane.fetch(CLAIM_OF_KINDS, limit, *request, others, MODEL in kinds)
    elif limit and len(set(zip(request.sessions, request.lease_seconds, strict=True))) == 1:
        (row,) = await lane.fetch(CLAIM, limit, request.sessions[:1], request.lease_seconds[:1], request.claim_id)
    else:
        (row,) = await lane.fetch(CLAIM_FOR_SEVERAL, limit, *request)
    if row["lease_seq"] is None:
        return NOTHING
    lane.history.has_claimed(row["lease_seq"], history)
    return _claimed(row, request)


def _claimed(row: asyncpg.Record, request: ClaimRequest) -> Claimed:
    claimed_at, count = row["claimed_at"], len(row["job_ids"])
    created_at = one_or_all(struct.unpack(f"!{count}q", row["created_at"]))
    return Claimed(
        row["lease_seq"],
        claimed_at,
        row["job_ids"],
        row["model_ids"],
        row["model_hashes"],
        request.expiries(claimed_at, count),
        [attempt + 1 for attempt in one_or_all(row["attempts"])],
        one_or_all(row["priorities"]),
        one_or_all(row["max_attempts"]),
        [_EPOCH_OF_POSTGRES + moment for moment in created_at],
        one_or_all([kind or MODEL for kind in row["kinds"]]) if row["kinds"] else (MODEL,),
        dict(zip(row["with_options"], row["options"], strict=True)) if row["options"] else NO_OPTIONS,
    )
