"""The keys that sign tickets: every server signs with the newest, and every gateway knows all of them."""

from datetime import timedelta

from thumbq_server.domain.access.tickets import SigningKey
from thumbq_server.storage.postgres.database import Database
from thumbq_server.storage.statements import Statement

# The columns stand in the order of SigningKey.
LIST = Statement(
    "signing_keys_list",
    "key_life interval",
    """
    SELECT id, seed, created_at, created_at < now() - $1::interval AS is_worn
      FROM signing_keys ORDER BY created_at DESC, id
    """,
)

CREATE = Statement("signing_key_create", "id text, seed bytea", "INSERT INTO signing_keys (id, seed) VALUES ($1, $2)")

PRUNE = Statement(
    "signing_keys_prune",
    "retention interval",
    """
    WITH pruned AS (
        DELETE FROM signing_keys WHERE id = ANY (ARRAY (
            SELECT id FROM signing_keys WHERE created_at < now() - $1::interval ORDER BY id FOR UPDATE))
        RETURNING 1
    )
    SELECT count(*) AS count FROM pruned
    """,
)


async def list_signing_keys(database: Database, key_life: timedelta) -> list[SigningKey]:
    """Return all keys, the newest first."""
    return [SigningKey._make(row) for row in await database.fetch(LIST, key_life)]


async def create_signing_key(database: Database, key_id: str, seed: bytes) -> None:
    """Store a new key."""
    await database.fetch(CREATE, key_id, seed)


async def prune_signing_keys(database: Database, retention: timedelta) -> int:
    """Delete the keys that are older. Return how many."""
    count: int = (await database.fetch(PRUNE, retention))[0]["count"]
    return count
