"""The log of each job, as its workers write it. A line is a sign of life: it extends leases, too.

Where callers need a key, lines without one are taken too while their job is in work. These have a place of their own.
They extend what lines with a key extend while their worker asks for jobs, and else the lease of their own job alone.
"""

from collections.abc import Sequence

from thumbq_server.domain.job_events import LONGEST_KEPT_SECONDS, MOST_KEPT, JobEvent, LivingWorker, NewJobEvent
from thumbq_server.storage.fragments import columns
from thumbq_server.storage.postgres.database import Database
from thumbq_server.storage.postgres.lane import Lane
from thumbq_server.storage.statements import Statement

# A worker of unary calls works in the order of its claims. A line on one of its jobs therefore also extends the leases
# of the jobs that it claimed later. An earlier job was finished or forgotten. Jobs of streams have heartbeats.
#
# The commit does not wait for the disk. A crash of PostgreSQL may lose the last lines, which no promise rests on.
LOG = Statement(
    "job_events_log",
    "job_ids bigint[], event_types text[], messages text[], metadata text[], error_messages text[],"
    " lease_seconds double precision, longest_seconds double precision, most_kept bigint,"
    " with_key boolean",
    """
    WITH input AS (
        SELECT * FROM unnest($1::bigint[], $2::text[], $3::text[], $4::text[], $5::text[])
               WITH ORDINALITY AS i (job_id, event_type, message, metadata, error_message, place)
    ), lines AS (
        SELECT i.*, nextval('job_event_seq') AS id FROM input i
         WHERE EXISTS (SELECT FROM jobs j WHERE j.id = i.job_id)
         ORDER BY place
    ), told AS (
        SELECT w.id AS session, min(l.claimed_at) AS claimed_at, believed,
               CASE WHEN believed THEN $7::float8 ELSE $6 END * interval '1 second' AS longest
          FROM leases l JOIN workers w ON w.id = l.session AND w.session_id = ''
         -- a worker that asked for jobs of late has shown a key there, and lives
         CROSS JOIN LATERAL (SELECT $9 OR w.last_seen_at > now() - $6::float8 * interval '1 second' AS believed) b
         WHERE l.job_id = ANY ($1)
         GROUP BY w.id, believed
    ), extended AS (
        UPDATE leases l
           SET expires_at = greatest(l.expires_at, least(now() + $6 * interval '1 second', l.claimed_at + told.longest))
          FROM told
         WHERE told.session = l.session AND l.job_id = ANY (ARRAY (
            SELECT h.job_id FROM leases h JOIN told t ON h.session = t.session AND h.claimed_at >= t.claimed_at
             -- the twelve lines of a quick job extend it once
             WHERE h.expires_at < now() + 0.9 * $6 * interval '1 second'
               AND h.expires_at < h.claimed_at + t.longest
               AND (t.believed OR h.job_id = ANY ($1))
             ORDER BY h.lease_seq, h.job_id FOR UPDATE OF h))
    ), forgotten AS (
        DELETE FROM job_events WHERE id = ANY (ARRAY (
            SELECT old.id FROM (SELECT DISTINCT job_id FROM lines) n CROSS JOIN LATERAL (
                SELECT e.id FROM job_events e WHERE e.job_id = n.job_id AND e.with_key = $9
                 ORDER BY e.id DESC OFFSET $8) old))
    ), written AS (
        INSERT INTO job_events (id, job_id, event_type, message, metadata, error_message, with_key)
        SELECT id, job_id, event_type, message, metadata, error_message, $9 FROM lines
    )
    SELECT place, id, set_config('synchronous_commit', 'off', true) FROM lines
    """,
)

LIST = Statement(
    "job_events_list",
    "job_id bigint, most bigint",
    """
    SELECT newest.* FROM (VALUES (true), (false)) AS kinds (with_key) CROSS JOIN LATERAL (
        SELECT id, created_at, event_type, message, metadata, error_message
          FROM job_events e WHERE e.job_id = $1 AND e.with_key = kinds.with_key
         ORDER BY id DESC LIMIT $2) AS newest
     ORDER BY id
    """,
)

# A connection belongs to one process. Jobs claimed under its name before may belong to a process that died.
KEEP = Statement(
    "leases_keep",
    "worker_ids text[], connected_seconds double precision[], lease_seconds double precision,"
    " longest_seconds double precision",
    """
    UPDATE leases l
       SET expires_at = greatest(l.expires_at, least(now() + $3 * interval '1 second',
                                                     l.claimed_at + $4 * interval '1 second'))
     WHERE l.job_id = ANY (ARRAY (
        SELECT h.job_id FROM unnest($1::text[], $2::float8[]) AS i (worker_id, connected_seconds)
          JOIN workers w ON w.worker_id = i.worker_id AND w.session_id = ''
          JOIN leases h ON h.session = w.id AND h.claimed_at >= now() - i.connected_seconds * interval '1 second'
         ORDER BY h.lease_seq, h.job_id FOR UPDATE OF h))
    """,
)


async def log(
    lane: Lane, events: Sequence[NewJobEvent], lease_seconds: float, *, with_key: bool = True
) -> list[int | None]:
    """Write lines, and extend the leases that they speak for. Return the id of each; None: there is no such job.

    Lines without a key of a worker that was not heard of within the length of a lease extend it no further than it
    would have lasted from the claim.
    """
    longest = float(LONGEST_KEPT_SECONDS)
    rows = await lane.fetch(LOG, *columns(events, 5), lease_seconds, longest, MOST_KEPT, with_key)
    ids = {row["place"]: row["id"] for row in rows}
    return [ids.get(place) for place in range(1, len(events) + 1)]


async def list_events(database: Database, job_id: int) -> list[JobEvent]:
    """Return the lines of a job, the oldest first."""
    return [JobEvent._make(row) for row in await database.fetch(LIST, job_id, MOST_KEPT)]


async def keep(lane: Lane, workers: Sequence[LivingWorker], lease_seconds: float) -> None:
    """Extend the leases that workers have taken while they held their present connections."""
    await lane.fetch(KEEP, *columns(workers, 2), lease_seconds, float(LONGEST_KEPT_SECONDS))
