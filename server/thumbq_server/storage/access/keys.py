"""API keys. A key that was revoked stays as a row: while there are rows, the queue is closed to callers without one."""

from collections.abc import Sequence
from datetime import timedelta

from thumbq_server.domain.access.keys import KeyRecord
from thumbq_server.storage.postgres.database import Database
from thumbq_server.storage.postgres.hints import KEYS
from thumbq_server.storage.statements import Statement

# The columns stand in the order of KeyRecord.
_COLUMNS = (
    "prefix, digest, role, name, created_at, expires_at, last_used_at, revoked_at,"
    " extract(epoch FROM expires_at - now())::float8 AS seconds_left"
)

CREATE_KEY = Statement(
    "key_create",
    "prefix text, digest bytea, role text, name text, life interval",
    f"""
    INSERT INTO keys (prefix, digest, role, name, expires_at) VALUES ($1, $2, $3, $4, now() + $5)
    RETURNING {_COLUMNS}
    """,
)

LIST_KEYS = Statement("keys_list", "", f"SELECT {_COLUMNS} FROM keys ORDER BY created_at, prefix")

REVOKE_KEY = Statement(
    "key_revoke",
    "prefix text",
    f"""
    UPDATE keys SET revoked_at = coalesce(revoked_at, now()) WHERE prefix = $1
    RETURNING {_COLUMNS}
    """,
)

NOTE_KEYS_USED = Statement(
    "keys_note_used",
    "prefixes text[], seconds_ago double precision[]",
    """
    UPDATE keys SET last_used_at = now() - u.seconds_ago * interval '1 second'
      FROM unnest($1::text[], $2::float8[]) AS u (prefix, seconds_ago)
     WHERE keys.prefix = ANY (ARRAY (
            SELECT k.prefix FROM keys k WHERE k.prefix = ANY ($1) ORDER BY k.prefix FOR UPDATE))
       AND keys.prefix = u.prefix
       AND (last_used_at IS NULL OR last_used_at < now() - u.seconds_ago * interval '1 second')
    """,
)


async def create_key(
    database: Database, prefix: str, digest: bytes, role: str, name: str, life: timedelta | None
) -> KeyRecord:
    """Store a new key, and tell every server."""
    rows = await database.fetch(CREATE_KEY, prefix, digest, role, name, life)
    database.hints.tell(KEYS)
    return KeyRecord._make(rows[0])


async def list_keys(database: Database) -> list[KeyRecord]:
    """Return all keys, the oldest first."""
    return [KeyRecord._make(row) for row in await database.fetch(LIST_KEYS)]


async def revoke_key(database: Database, prefix: str) -> KeyRecord | None:
    """End a key, and tell every server. Return None when there is none of this prefix."""
    rows = await database.fetch(REVOKE_KEY, prefix)
    database.hints.tell(KEYS)
    return KeyRecord._make(rows[0]) if rows else None


async def note_keys_used(database: Database, prefixes: Sequence[str], seconds_ago: Sequence[float]) -> None:
    """Record when keys were last used."""
    await database.fetch(NOTE_KEYS_USED, prefixes, seconds_ago)
