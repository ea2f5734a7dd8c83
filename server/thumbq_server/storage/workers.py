"""The registry of workers: who claims, by number."""

import json
from collections.abc import Mapping, Sequence

from thumbq_server.storage.postgres.database import Database

_REGISTER = """
    INSERT INTO workers AS w (worker_id, session_id, version, labels) VALUES ($1, $2, $3, $4::jsonb)
    ON CONFLICT (worker_id, session_id) DO UPDATE SET last_seen_at = now(), version = $3, labels = $4::jsonb
    RETURNING id
"""

_SEEN = "UPDATE workers SET last_seen_at = now() WHERE id = ANY($1::bigint[])"


async def register(
    database: Database,
    worker_id: str,
    session_id: str = "",
    version: str = "",
    labels: Mapping[str, str] | None = None,
) -> int:
    """The number of a worker's session, new or known. Session '' is a worker of unary calls."""
    rows = await database.fetch(_REGISTER, worker_id, session_id, version, json.dumps(dict(labels or {})))
    number: int = rows[0]["id"]
    return number


async def seen(database: Database, workers: Sequence[int]) -> None:
    """Note that these workers were heard of."""
    await database.fetch(_SEEN, workers)
