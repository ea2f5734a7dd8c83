"""The list of picture files that nothing shows any more: what comes onto it, and what may go."""

from collections.abc import Sequence
from datetime import datetime
from functools import partial
from typing import NamedTuple

import asyncpg

from thumbq_server.storage.maintenance import LOCK_OLD_JOBS
from thumbq_server.storage.postgres.database import Database
from thumbq_server.storage.statements import Statement

# The ends `a` of a job `j` whose picture is superseded: its model has shown another one since. A version still shows
# the last picture of its file.
_SUPERSEDED = """a.job_id = j.id AND a.outcome = 'Completed' AND a.path <> ''
           AND a.ended_at < now() - make_interval(secs => $2)
           AND EXISTS (
            SELECT FROM jobs n JOIN attempts newer ON newer.job_id = n.id
             WHERE n.model_id = j.model_id AND newer.outcome = 'Completed' AND newer.end_no > coalesce(a.end_no, 0)
               AND newer.ended_at < now() - make_interval(secs => $2))
           AND NOT (
            EXISTS (SELECT FROM model_versions v WHERE v.model_id = j.model_id AND v.model_hash = j.model_hash)
            AND a.lease_seq = (SELECT max(lease_seq) FROM attempts WHERE job_id = j.id AND outcome = 'Completed'))"""

FIND_SUPERSEDED = Statement(
    "removals_find_superseded",
    "after bigint, grace_seconds double precision, limit bigint",
    f"""
    WITH looked_at AS MATERIALIZED (
        SELECT id, model_id, model_hash FROM jobs WHERE id > $1 ORDER BY id LIMIT $3
    )
    SELECT count(*) AS looked_at, max(j.id) AS last,
           array_agg(j.id) FILTER (WHERE EXISTS (SELECT FROM attempts a WHERE {_SUPERSEDED})) AS job_ids
      FROM looked_at j
    """,
)

# The end keeps its row. Its path is emptied, so that nothing names a file that may be gone.
LIST_SUPERSEDED = Statement(
    "removals_list_superseded",
    "job_ids bigint[], grace_seconds double precision",
    f"""
    WITH superseded AS MATERIALIZED (
        SELECT a.job_id, a.lease_seq, a.path, a.ended_at
          FROM jobs j CROSS JOIN LATERAL (SELECT * FROM attempts WHERE job_id = j.id OFFSET 0) a
         WHERE j.id = ANY ($1) AND {_SUPERSEDED}
    ), emptied AS (
        UPDATE attempts a SET path = ''
          FROM superseded s WHERE a.job_id = s.job_id AND a.lease_seq = s.lease_seq
        RETURNING s.path, s.ended_at
    ), listed AS (
        INSERT INTO removals (path, reported_at) SELECT path, max(ended_at) FROM emptied GROUP BY path
        RETURNING path
    )
    SELECT count(*) AS count FROM listed
    """,
)

DUE = Statement(
    "removals_due",
    "limit bigint",
    "SELECT id, path, reported_at, now() AS looked_at FROM removals WHERE due_at <= now() ORDER BY id LIMIT $1",
)

# Models may share a file. Paths have no index, which every completion would pay for: this reads the whole table.
NAMED = Statement(
    "removals_named", "paths text[]", "SELECT DISTINCT path FROM attempts WHERE path = ANY ($1) AND path <> ''"
)

DROP = Statement("removals_drop", "ids bigint[]", "DELETE FROM removals WHERE id = ANY ($1)")

POSTPONE = Statement(
    "removals_postpone",
    "ids bigint[], seconds double precision",
    "UPDATE removals SET due_at = now() + make_interval(secs => $2) WHERE id = ANY ($1)",
)


class Removal(NamedTuple):
    """A file to remove, unless it has changed since a worker reported it. It was found on the list at `looked_at`."""

    id: int
    path: str
    reported_at: datetime
    looked_at: datetime


async def list_superseded(database: Database, grace: float, after: int, limit: int) -> tuple[int, int | None]:
    """List pictures of the next `limit` jobs after id `after` that others replaced `grace` seconds ago.

    Return how many, and the last job's id; None when no job is left to look at.
    """
    (found,) = await database.fetch(FIND_SUPERSEDED, after, grace, limit)
    count = 0
    if found["job_ids"]:
        count = await database.run(partial(_list, job_ids=sorted(found["job_ids"]), grace=grace))
    return count, found["last"] if found["looked_at"] == limit else None


async def _list(connection: asyncpg.Connection, job_ids: list[int], grace: float) -> int:
    """List what is superseded of these jobs, as far as nothing else holds them."""
    async with connection.transaction():
        locked = [row["id"] for row in await connection.fetch(LOCK_OLD_JOBS.text, job_ids)]
        # a statement of its own: it sees everything that was committed before the locks were there
        count: int = await connection.fetchval(LIST_SUPERSEDED.text, locked, grace)
        return count


async def due(database: Database, limit: int) -> list[Removal]:
    """Return files to remove now."""
    return [Removal._make(row) for row in await database.fetch(DUE, limit)]


async def named(database: Database, paths: Sequence[str]) -> set[str]:
    """Return those of the paths that an end of some job names."""
    return {row["path"] for row in await database.fetch(NAMED, paths)}


async def drop(database: Database, history: int, ids: Sequence[int]) -> None:
    """Take files off the list.

    Raises Unavailable where the history is another one than at this version: its ids are those of other files.
    """
    await database.fetch(DROP, ids, history=history)


async def postpone(database: Database, history: int, ids: Sequence[int], seconds: float) -> None:
    """Look at files again later. Raises Unavailable as `drop` does."""
    await database.fetch(POSTPONE, ids, seconds, history=history)
