"""Leases that run longer, because a heartbeat named them. One guarded statement."""

from collections.abc import Sequence

from thumbq_server.domain.job import Extension, Token
from thumbq_server.storage.fragments import MINE, columns
from thumbq_server.storage.postgres.lane import Lane
from thumbq_server.storage.statements import Statement
from thumbq_server.storage.transitions.verdicts import verdicts_on

EXTEND = Statement(
    "extend",
    "job_ids bigint[], lease_seqs integer[], seconds double precision[]",
    f"""
    UPDATE leases l SET expires_at = now() + i.seconds * interval '1 second'
      FROM unnest($1::bigint[], $2::int[], $3::float8[]) AS i (job_id, lease_seq, seconds)
     WHERE {MINE}
    RETURNING l.job_id, l.lease_seq, l.expires_at
    """,
)


async def extend(lane: Lane, items: Sequence[tuple[Token, float]]) -> list[Extension]:
    """Let each lease end the given seconds from now."""
    by_job = sorted((*token, seconds) for token, seconds in items)  # as in complete
    rows = await lane.fetch(EXTEND, *columns(by_job, 3))
    # a job has one row here, even when it is named twice: with its token, and by a caller without one
    ends = {Token(row["job_id"], lease_seq): row["expires_at"] for row in rows for lease_seq in (0, row["lease_seq"])}
    tokens = [token for token, _ in items]
    return list(map(Extension, await verdicts_on(lane, tokens, ends), map(ends.get, tokens)))
