"""The registry of workers: a number for each session."""

import json
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from types import MappingProxyType

from thumbq_server.storage.postgres.database import Database
from thumbq_server.storage.statements import Statement

NOTHING: Mapping[int, int] = MappingProxyType({})

REGISTER = Statement(
    "workers_register",
    "worker_id text, session_id text, version text, labels jsonb",
    """
    INSERT INTO workers AS w (worker_id, session_id, version, labels) VALUES ($1, $2, $3, $4)
    ON CONFLICT (worker_id, session_id) DO UPDATE SET last_seen_at = now(), version = $3, labels = $4
    RETURNING id
    """,
)

# A worker of unary calls that is heard of again has received the jobs that it claimed before: from the claim on, their
# leases are as long as configured.
CONFIRM = Statement(
    "workers_confirm",
    "sessions bigint[], seconds_ago double precision[], lease_seconds double precision",
    """
    UPDATE leases l SET expires_at = greatest(l.expires_at, l.claimed_at + $3::float8 * interval '1 second')
     WHERE l.job_id = ANY (ARRAY (
        SELECT h.job_id FROM unnest($1::bigint[], $2::float8[]) AS i (session, seconds_ago)
          JOIN workers w ON w.id = i.session AND w.session_id = ''
          JOIN leases h ON h.session = i.session AND h.claimed_at < now() - i.seconds_ago * interval '1 second'
         ORDER BY h.lease_seq, h.job_id FOR UPDATE OF h))
    """,
)

PRUNE = Statement(
    "workers_prune",
    "gone_seconds double precision, limit bigint",
    """
    WITH pruned AS (
        DELETE FROM workers WHERE id = ANY (ARRAY (
            SELECT id FROM workers w
             WHERE last_seen_at < now() - make_interval(secs => $1)
               AND NOT EXISTS (SELECT FROM leases l WHERE l.session = w.id)
             LIMIT $2 FOR UPDATE SKIP LOCKED))
        RETURNING 1
    )
    SELECT count(*) AS count FROM pruned
    """,
)

# The rate fades by the part of a minute that has passed since the last time, and gains what was completed since: a
# worker that always completes as many has that rate, however often it is written down, and by however many servers.
RECORD = Statement(
    "workers_record",
    "sessions bigint[], heard boolean[], completed bigint[], failed bigint[]",
    """
    UPDATE workers w
       SET last_seen_at = CASE WHEN n.heard THEN now() ELSE w.last_seen_at END,
           completed = w.completed + n.completed, failed = w.failed + n.failed,
           completed_per_minute = CASE WHEN n.minutes < 1 THEN w.completed_per_minute * (1 - n.minutes) + n.completed
                                       ELSE n.completed / n.minutes END,
           counted_at = now()
      FROM (SELECT k.id, i.heard, i.completed, i.failed,
                   greatest(extract(epoch FROM now() - coalesce(k.counted_at, k.first_seen_at))::float8, 0) / 60
                     AS minutes
              FROM unnest($1::bigint[], $2::bool[], $3::bigint[], $4::bigint[])
                AS i (session, heard, completed, failed) JOIN workers k ON k.id = i.session
             ORDER BY k.id FOR UPDATE OF k) n
     WHERE w.id = n.id
    """,
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


async def record(
    database: Database,
    history: int,
    heard: AbstractSet[int],
    completed: Mapping[int, int] = NOTHING,
    failed: Mapping[int, int] = NOTHING,
) -> None:
    """Note which sessions were heard of, and add what attempts of which sessions have ended. One statement serves all.

    Raises Unavailable where the history is another one than at this version: its sessions are others.
    """
    sessions = sorted({*heard, *completed, *failed})
    counts = ([counted.get(session, 0) for session in sessions] for counted in (completed, failed))
    await database.fetch(RECORD, sessions, [session in heard for session in sessions], *counts, history=history)


async def confirm(database: Database, history: int, heard: Mapping[int, float], lease_seconds: float) -> None:
    """Let leases of unary calls be as long as configured. `heard` has how many seconds ago each session spoke.

    Raises Unavailable as `record` does.
    """
    await database.fetch(CONFIRM, list(heard), list(heard.values()), lease_seconds, history=history)


async def prune(database: Database, gone: float, limit: int) -> int:
    """Forget up to `limit` sessions without leases that were not heard of for `gone` seconds. Return how many."""
    count: int = (await database.fetch(PRUNE, gone, limit))[0]["count"]
    return count
