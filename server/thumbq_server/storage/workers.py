"""The registry of workers: a number for each session."""

import json
from collections.abc import Mapping, Sequence

from thumbq_server.storage.postgres.database import Database
from thumbq_server.storage.statements import Statement

REGISTER = Statement(
    "workers_register",
    "worker_id text, session_id text, version text, labels jsonb",
    """
    INSERT INTO workers AS w (worker_id, session_id, version, labels) VALUES ($1, $2, $3, $4)
    ON CONFLICT (worker_id, session_id) DO UPDATE SET last_seen_at = now(), version = $3, labels = $4
    RETURNING id
    """,
)

RECORD_HEARTBEATS = Statement(
    "workers_record_heartbeats",
    "sessions bigint[]",
    "UPDATE workers SET last_seen_at = now() WHERE id = ANY ($1)",
)


async def register(
    database: Database,
    worker_id: str,
    session_id: str = "",
    version: str = "",
    labels: Mapping[str, str] | None = None,
) -> int:
    """Return the number of a worker's session, new or known. Session '' is a worker of unary calls."""
    rows = await database.fetch(REGISTER, worker_id, session_id, version, json.dumps(dict(labels or {})))
    session: int = rows[0]["id"]
    return session


async def record_heartbeats(database: Database, sessions: Sequence[int]) -> None:
    """Note that a heartbeat came from each of these sessions. One statement serves a sweep over all of them."""
    await database.fetch(RECORD_HEARTBEATS, sorted(sessions))
