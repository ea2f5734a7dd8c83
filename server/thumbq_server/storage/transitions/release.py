"""Jobs that are given back, their attempts unspent. Each is one guarded statement."""

from collections.abc import Sequence

from thumbq_server.domain.job import Token, Verdict
from thumbq_server.storage.fragments import KIND_AND_OPTIONS, count_apart, put_in_queue
from thumbq_server.storage.postgres.hints import JOBS
from thumbq_server.storage.postgres.lane import Lane
from thumbq_server.storage.statements import Statement
from thumbq_server.storage.transitions.held import GROUPS, NAMED, PARAMETERS, in_order, named, with_numbers
from thumbq_server.storage.transitions.verdicts import verdicts_on


def _give_back(gone: str) -> str:
    """Return the statement that gives back what step `gone` deleted.

    The job keeps its place in the order. If a forced enqueue came meanwhile (rerun_request_no), the job takes that
    request number.
    """
    again = put_in_queue("ended", "run_at", attempt="CASE WHEN rerun_request_no IS NULL THEN attempt - 1 ELSE 0 END")
    return f"""
    WITH gone AS (
        {gone}
    ), ended AS MATERIALIZED (
        SELECT g.*, j.request_no, j.priority, j.max_attempts, j.created_at, j.model_hash, {KIND_AND_OPTIONS}, p.run_at
          FROM gone g JOIN jobs j ON j.id = g.job_id
         CROSS JOIN LATERAL (SELECT run_at FROM places WHERE job_id = g.job_id OFFSET 0) p
    ), recorded AS (
        INSERT INTO attempts (job_id, lease_seq, attempt, outcome, session, claimed_at, next_attempt_at, request_no)
        SELECT job_id, lease_seq, attempt, 'Released', session, claimed_at, run_at,
               CASE WHEN rerun_request_no IS NOT NULL THEN request_no END
          FROM ended
    ), frozen AS (
        UPDATE attempts a SET request_no = e.request_no
          FROM ended e WHERE e.rerun_request_no IS NOT NULL AND a.job_id = e.job_id AND a.request_no IS NULL
    ), renumbered AS (
        UPDATE jobs j SET request_no = greatest(j.request_no, e.rerun_request_no), kind = e.kind, options = e.options
          FROM (SELECT e.job_id, e.rerun_request_no, e.kind, e.options FROM ended e JOIN jobs ON jobs.id = e.job_id
                 WHERE e.rerun_request_no IS NOT NULL ORDER BY jobs.id FOR UPDATE OF jobs) e
         WHERE j.id = e.job_id
    ), again AS ({again}
    ), counted AS ({count_apart("Released", "ended")}
    )
    SELECT job_id, named_seq FROM ended
    """


RELEASE = Statement(
    "release",
    PARAMETERS,
    _give_back(f"""DELETE FROM leases l USING {GROUPS} WHERE {NAMED}
        RETURNING l.*, g.lease_seq AS named_seq"""),
)

RELEASE_CLAIM = Statement(
    "release_claim",
    "claim_id bigint",
    _give_back("""DELETE FROM leases l WHERE l.job_id = ANY (ARRAY (
            SELECT job_id FROM leases WHERE claim_id = $1 ORDER BY lease_seq, job_id FOR UPDATE)) AND l.claim_id = $1
        RETURNING l.*, l.lease_seq AS named_seq"""),
)


async def release(lane: Lane, tokens: Sequence[Token]) -> list[Verdict]:
    """Give jobs back, their attempts unspent."""
    numbered = await with_numbers(lane, tokens)
    rows = await lane.fetch(RELEASE, *named(in_order(numbered)))
    if rows:
        lane.hints.tell(JOBS)
    return await verdicts_on(lane, tokens, numbered, {Token(row["job_id"], row["named_seq"]) for row in rows})


async def release_claim(lane: Lane, claim_id: int) -> bool:
    """Give back everything that a claim took whose answer never came. Return whether that was anything."""
    rows = await lane.fetch(RELEASE_CLAIM, claim_id)
    if rows:
        lane.hints.tell(JOBS)
    return bool(rows)
