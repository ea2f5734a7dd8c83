"""Keeping `ready` and `leases` small: dead rows are vacuumed away, and the room of a burst goes back to the disk."""

from collections.abc import Sequence

from thumbq_server.storage.postgres.database import Database
from thumbq_server.storage.statements import Statement

_VACUUM = "VACUUM (SKIP_LOCKED, INDEX_CLEANUP ON, TRUNCATE {truncate}) {tables}"
# It takes the lock of the table at once or not at all, so no claim queues behind it.
_REBUILD = "VACUUM (FULL, SKIP_LOCKED) {tables}"

# PostgreSQL lets these vacuum: an owner of the table `c` or of the database `d`, and from 17 on a role with MAINTAIN.
# It only warns any other role.
MAY_VACUUM = """(
        pg_has_role(c.relowner, 'USAGE') OR pg_has_role(d.datdba, 'USAGE')
        OR CASE WHEN current_setting('server_version_num')::int >= 170000
                THEN has_table_privilege(c.oid, 'MAINTAIN') ELSE false END)"""
_LAST_CLAIM = "coalesce(pg_sequence_last_value('claim_seq'), 0)"


# The rows are counted only while the queue is quiet: beside many dead ones that takes long. The estimate in pg_class is
# wrong after a vacuum that skipped most pages.
def _swollen(table: str) -> str:
    """Return what finds the table if claim $1 is the last one, and its indexes have over 1 MiB for under 1,000 rows."""
    return f"""
        SELECT c.relname::text AS name,
               c.relpages - c.relallvisible <= 128 AND pg_relation_size(c.oid) <= 67108864 AS quickly_rebuilt
          FROM pg_class c JOIN pg_database d ON d.datname = current_database()
         WHERE c.oid = '{table}'::regclass AND {MAY_VACUUM}
           AND CASE WHEN {_LAST_CLAIM} = $1 AND pg_indexes_size(c.oid) > 1048576
                    THEN (SELECT count(*) FROM (SELECT FROM {table} LIMIT 1000) few) < 1000 ELSE false END"""


# A rebuild holds claims up while it reads the heap, and writes dead rows again that an open transaction may still see.
# Pages that are visible to all have none.
FIND_SWOLLEN = Statement(
    "tables_find_swollen",
    "last_claim bigint",
    f"""
    SELECT {_LAST_CLAIM} AS last_claim,
           coalesce(array_agg(name), '{{}}') AS swollen,
           coalesce(array_agg(name) FILTER (WHERE quickly_rebuilt), '{{}}') AS quickly_rebuilt
      FROM ({_swollen("ready")}
        UNION ALL{_swollen("leases")}) found
    """,
)


async def vacuum(database: Database) -> None:
    """Remove the dead rows that claims would have to skip."""
    await _execute(database, _VACUUM.format(truncate="OFF", tables="ready, leases"))


async def find_swollen(database: Database, last_claim: int | None) -> tuple[int, Sequence[str]]:
    """Return the number of the last claim of all servers.

    While that is still `last_claim`, return also which live tables have kept the room of a burst.
    """
    (found,) = await database.fetch(FIND_SWOLLEN, last_claim)
    return found["last_claim"], found["swollen"]


async def give_back_room(database: Database, tables: Sequence[str], last_claim: int) -> None:
    """Give the room that a burst has left in the tables back to the disk, unless they are used again.

    VACUUM tries for up to 5 seconds to get the lock to truncate, and lets others pass meanwhile.
    """
    # One by one: a small pool has two connections, and others read meanwhile.
    for table in tables:
        await _execute(database, _VACUUM.format(truncate="ON", tables=table))
    (found,) = await database.fetch(FIND_SWOLLEN, last_claim)
    if found["quickly_rebuilt"]:
        await _execute(database, _REBUILD.format(tables=", ".join(found["quickly_rebuilt"])))


async def _execute(database: Database, statement: str) -> None:
    # As a message of its own: VACUUM refuses to run in a transaction, which fetch needs behind a pooler.
    await database.run(lambda connection: connection.execute(statement))
