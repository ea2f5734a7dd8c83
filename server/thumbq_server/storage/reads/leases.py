"""Leases: which ones a session holds, and why one is gone."""

from collections.abc import Sequence

from thumbq_server.domain.job import JobStatus, LostReason, Token
from thumbq_server.storage.postgres.database import Database
from thumbq_server.storage.statements import Statement

HELD = Statement(
    "leases_held", "session bigint", "SELECT job_id, lease_seq FROM leases WHERE session = $1 ORDER BY job_id"
)

COUNT = Statement(
    "leases_count",
    "sessions bigint[]",
    "SELECT session, count(*) AS count FROM leases WHERE session = ANY ($1) GROUP BY session",
)

LOST = Statement("leases_lost", "job_ids bigint[]", "SELECT id, status, lease_seq FROM job_states WHERE id = ANY ($1)")


async def held_leases(database: Database, session: int) -> list[Token]:
    """Return the leases that a session holds."""
    return [Token(*row) for row in await database.fetch(HELD, session)]


async def count_leases(database: Database, sessions: Sequence[int]) -> dict[int, int]:
    """Return how many leases each session holds; those without any are left out."""
    return {row["session"]: row["count"] for row in await database.fetch(COUNT, sessions)}


async def why_lost(database: Database, tokens: Sequence[Token]) -> dict[Token, LostReason]:
    """Return why these leases are gone. Leases that ended with a picture are left out: their holders know."""
    states = {row["id"]: row for row in await database.fetch(LOST, [token.job_id for token in tokens])}
    reasons: dict[Token, LostReason] = {}
    for token in tokens:
        state = states.get(token.job_id)
        if state is None:
            reasons[token] = LostReason.EXPIRED
        elif state["status"] == JobStatus.CANCELLED:
            reasons[token] = LostReason.CANCELLED
        elif state["lease_seq"] != token.lease_seq:
            reasons[token] = LostReason.TAKEN_OVER
        elif state["status"] != JobStatus.COMPLETED:
            reasons[token] = LostReason.EXPIRED
    return reasons
