"""Leases: which ones a worker holds, and why one is gone."""

from collections.abc import Sequence

from thumbq_server.domain.job import LostReason, Token
from thumbq_server.storage.postgres.database import Database

_HELD = "SELECT job_id, lease_seq FROM leases WHERE worker = $1 ORDER BY job_id"

_STATES = "SELECT id, model_id, status, lease_seq FROM job_states WHERE id = ANY($1::bigint[])"


async def held_leases(database: Database, worker: int) -> list[Token]:
    """The leases of one worker of the registry."""
    return [Token(*row) for row in await database.fetch(_HELD, worker)]


async def why_lost(database: Database, tokens: Sequence[Token]) -> dict[Token, LostReason]:
    """Why these leases are gone. Those that ended with a picture are left out: that was their holder's doing."""
    states = {row["id"]: row for row in await database.fetch(_STATES, [token.job_id for token in tokens])}
    reasons: dict[Token, LostReason] = {}
    for token in tokens:
        state = states.get(token.job_id)
        if state is None or state["lease_seq"] == token.lease_seq:
            if state is None or state["status"] == "Cancelled":
                reasons[token] = LostReason.CANCELLED
            elif state["status"] != "Completed":
                reasons[token] = LostReason.EXPIRED
        else:
            reasons[token] = LostReason.TAKEN_OVER
    return reasons
