"""The audit log."""

from collections.abc import Sequence

from thumbq_server.domain.access.audit import AuditRecord, Deed
from thumbq_server.storage.fragments import columns
from thumbq_server.storage.postgres.database import Database
from thumbq_server.storage.statements import Statement

# The columns stand in the order of AuditRecord.
_COLUMNS = "id, at, who, address, action, outcome, detail, reference"

BEGIN = Statement(
    "audit_begin",
    "who text, address text, action text, outcome text, detail text, reference text",
    """
    INSERT INTO audit (who, address, action, outcome, detail, reference) VALUES ($1, $2, $3, $4, $5, $6)
    RETURNING id
    """,
)

END = Statement(
    "audit_end",
    "id bigint, outcome text, detail text, reference text",
    "UPDATE audit SET outcome = $2, detail = $3, reference = $4 WHERE id = $1",
)

WRITE = Statement(
    "audit_write",
    "whos text[], addresses text[], actions text[], outcomes text[], details text[], refs text[]",
    """
    INSERT INTO audit (who, address, action, outcome, detail, reference)
    SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[])
    """,
)

LIST = Statement(
    "audit_list",
    "below bigint, who text, action text, outcome text, limit bigint",
    f"""
    SELECT {_COLUMNS} FROM audit
     WHERE id < $1 AND ($2 = '' OR who = $2) AND ($3 = '' OR action = $3) AND ($4 = '' OR outcome = $4)
     ORDER BY id DESC LIMIT $5
    """,
)

PRUNE = Statement(
    "audit_prune",
    "keep_seconds double precision, limit bigint",
    """
    WITH pruned AS (
        DELETE FROM audit WHERE id = ANY (ARRAY (
            SELECT id FROM (SELECT id, at FROM audit ORDER BY id LIMIT $2 FOR UPDATE SKIP LOCKED) AS oldest
             WHERE at < now() - make_interval(secs => $1)))
        RETURNING 1
    )
    SELECT count(*) AS count FROM pruned
    """,
)


async def begin(database: Database, deed: Deed) -> int:
    """Record an action that is about to be done. Return the id of its row."""
    row_id: int = (await database.fetch(BEGIN, *deed.cut()))[0]["id"]
    return row_id


async def end(database: Database, row_id: int, deed: Deed) -> None:
    """Record how an action has ended."""
    _, _, _, outcome, detail, reference = deed.cut()
    await database.fetch(END, row_id, outcome, detail, reference)


async def write(database: Database, deeds: Sequence[Deed]) -> None:
    """Record what has happened already."""
    await database.fetch(WRITE, *columns([deed.cut() for deed in deeds], 6))


async def list_audit(
    database: Database, below: int, limit: int, who: str, action: str, outcome: str
) -> list[AuditRecord]:
    """Return up to `limit` rows with ids below `below`, the newest first. An empty text is no filter."""
    return [AuditRecord._make(row) for row in await database.fetch(LIST, below, who, action, outcome, limit)]


async def prune(database: Database, keep: float, limit: int) -> int:
    """Delete rows that are older than `keep` seconds, among the `limit` oldest. Return how many."""
    count: int = (await database.fetch(PRUNE, keep, limit))[0]["count"]
    return count
