"""Jobs that are given back, their attempts unspent. Each is one guarded statement."""

from collections.abc import Sequence

from thumbq_server.domain.job import Token, Verdict
from thumbq_server.storage.fragments import MINE, columns
from thumbq_server.storage.postgres.lane import Lane
from thumbq_server.storage.postgres.notify import CHANNEL, JOBS
from thumbq_server.storage.statements import Statement
from thumbq_server.storage.transitions.verdicts import verdicts_on


def _give_back(input_steps: str) -> str:
    """Return the statement that gives back what step `ended` deleted.

    The job keeps its place in the order. If a forced enqueue came meanwhile (rerun_request_no), the job takes that
    request number.
    """
    return f"""
    {input_steps}, again AS (
        INSERT INTO ready (job_id, rank, run_at, attempt, lease_seq)
        SELECT job_id, rank, run_at, CASE WHEN rerun_request_no IS NULL THEN attempt - 1 ELSE 0 END, lease_seq
          FROM ended
    ), renumbered AS (
        UPDATE jobs j SET request_no = greatest(j.request_no, e.rerun_request_no)
          FROM ended e WHERE j.id = e.job_id AND e.rerun_request_no IS NOT NULL
    ), notified AS (
        SELECT pg_notify('{CHANNEL}', '{JOBS}') FROM ended LIMIT 1
    )
    SELECT job_id, named_seq, (SELECT count(*) FROM notified) FROM ended
    """


RELEASE = Statement(
    "release",
    "job_ids bigint[], lease_seqs integer[]",
    _give_back(f"""
    WITH input AS (
        SELECT * FROM unnest($1::bigint[], $2::int[]) AS i (job_id, lease_seq)
    ), ended AS (
        DELETE FROM leases l USING input i WHERE {MINE}
        RETURNING l.*, i.lease_seq AS named_seq
    )"""),
)

RELEASE_CLAIM = Statement(
    "release_claim",
    "claim_id bigint",
    _give_back("""
    WITH ended AS (
        DELETE FROM leases l WHERE l.claim_id = $1 RETURNING l.*, l.lease_seq AS named_seq
    )"""),
)


async def release(lane: Lane, tokens: Sequence[Token]) -> list[Verdict]:
    """Give jobs back, their attempts unspent."""
    rows = await lane.fetch(RELEASE, *columns(sorted(tokens), 2))
    return await verdicts_on(lane, tokens, {Token(row["job_id"], row["named_seq"]) for row in rows})


async def release_claim(lane: Lane, claim_id: int) -> None:
    """Give back everything that a claim took whose answer never came."""
    await lane.fetch(RELEASE_CLAIM, claim_id)
