"""Leases that run longer, because a heartbeat named them. One guarded statement."""

from collections.abc import Sequence
from itertools import groupby

from thumbq_server.domain.job import Extension, Token
from thumbq_server.storage.postgres.lane import Lane
from thumbq_server.storage.statements import Statement
from thumbq_server.storage.transitions.held import NAMED, with_numbers
from thumbq_server.storage.transitions.verdicts import verdicts_on

EXTEND = Statement(
    "extend",
    "job_ids bigint[], group_seconds double precision[], group_lease_seqs bigint[], group_firsts integer[],"
    " group_lasts integer[]",
    f"""
    UPDATE leases l SET expires_at = now() + g.seconds * interval '1 second'
      FROM unnest($2::float8[], $3::bigint[], $4::int[], $5::int[]) AS g (seconds, lease_seq, first, last)
     WHERE {NAMED}
    RETURNING l.job_id, l.lease_seq, l.expires_at
    """,
)


async def extend(lane: Lane, items: Sequence[tuple[Token, float]]) -> list[Extension]:
    """Let each lease end the given seconds from now."""
    # locks are taken in this order by every statement
    tokens = [token for token, _ in items]
    numbered = await with_numbers(lane, tokens)
    lengths = [seconds for _, seconds in items]
    ordered = sorted(
        {(token.lease_seq, token.job_id): seconds for token, seconds in zip(numbered, lengths, strict=True)}.items()
    )
    groups: list[tuple[float, int, int, int]] = []
    position = 1
    for (lease_seq, seconds), group in groupby(ordered, key=lambda item: (item[0][0], item[1])):
        size = len(list(group))
        groups.append((seconds, lease_seq, position, position + size - 1))
        position += size
    job_ids = [job_id for (_, job_id), _ in ordered]
    rows = await lane.fetch(EXTEND, job_ids, *map(list, zip(*groups, strict=True))) if groups else []
    ends = {Token(row["job_id"], row["lease_seq"]): row["expires_at"] for row in rows}
    return list(map(Extension, await verdicts_on(lane, tokens, numbered, ends), map(ends.get, numbered)))
