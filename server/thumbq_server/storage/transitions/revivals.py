"""How a job that exists starts again, or becomes the newest request of its model: one guarded statement each."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from thumbq_server.domain.job import Revival
from thumbq_server.storage.fragments import announce, columns, put_in_queue, rank
from thumbq_server.storage.postgres.hints import JOBS
from thumbq_server.storage.postgres.lane import Lane
from thumbq_server.storage.statements import Statement

_PARAMETERS = (
    "job_ids bigint[], request_nos bigint[], lease_seqs bigint[], priorities smallint[], max_attempts smallint[],"
    " delays double precision[], run_ats timestamp with time zone[], kinds text[], options text[]"
)
_INPUT = """
    WITH input AS (
        SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::smallint[], $5::smallint[], $6::float8[],
                             $7::timestamptz[], $8::text[], $9::text[])
            AS i (job_id, request_no, lease_seq, priority, max_attempts, delay, run_at, kind, options)
    )"""

# The counters of ended jobs that start again.
_COUNTED_BACK = {
    counter: f"-(SELECT count(*) FROM changed WHERE outcome = '{outcome}')"
    for counter, outcome in (("completed", "Completed"), ("failed", "Failed"), ("cancelled", "Cancelled"))
}

# Ends of the older request keep its number: only a renewal moves the number of a shown end.
_FREEZE = """
        UPDATE attempts a SET request_no = coalesce(a.request_no, c.old_request_no), dead = NULL
          FROM changed c WHERE a.job_id = c.job_id AND (a.request_no IS NULL OR a.dead)"""

_RESTARTED = rank("(now() + make_interval(secs => i.delay))", "i.priority")

# Ended jobs start again. The guard is request_no: the first of several has moved it.
RESET = Statement(
    "revive_reset",
    _PARAMETERS,
    f"""
    {_INPUT}, before AS (
        SELECT i.*, j.request_no AS old_request_no FROM jobs j JOIN input i ON j.id = i.job_id
         WHERE j.request_no = i.request_no ORDER BY j.id FOR UPDATE OF j
    ), changed AS (
        UPDATE jobs j SET request_no = nextval('request_seq'), since = b.lease_seq, priority = b.priority,
               max_attempts = b.max_attempts, due_at = now() + b.delay * interval '1 second', reset_at = now(),
               kind = b.kind, options = b.options
          FROM before b WHERE j.id = b.job_id
        RETURNING j.id AS job_id, j.model_id, j.model_hash, j.priority, j.max_attempts, j.created_at, j.due_at,
                  j.kind, j.options, b.old_request_no, 0 AS attempt,
                  (SELECT outcome FROM attempts a WHERE a.job_id = b.job_id AND a.lease_seq = b.lease_seq) AS outcome
    ), frozen AS ({_FREEZE}
    ), queued AS ({put_in_queue("changed", "due_at")}
    ), {announce("Pending", "changed", moves=_COUNTED_BACK)}
    SELECT job_id FROM changed
    """,
)

# Pending jobs that wait for a retry forget their failures; others get another kind or other options. lease_seq is
# a guard too: a job that was claimed and given back stands in `ready` as it did before.
RESTART = Statement(
    "revive_restart",
    _PARAMETERS,
    f"""
    {_INPUT}, restarted AS (
        UPDATE ready r SET attempt = 0, run_at = now() + make_interval(secs => i.delay), priority = i.priority,
               max_attempts = i.max_attempts, kind = i.kind, options = i.options,
               rank = CASE WHEN i.kind IS NULL THEN {_RESTARTED} ELSE 'infinity' END,
               kind_rank = CASE WHEN i.kind IS NOT NULL THEN {_RESTARTED} END
          FROM (SELECT i.*, found.ctid
                  FROM input i
                 CROSS JOIN LATERAL (SELECT rank FROM places WHERE job_id = i.job_id OFFSET 0) p
                 CROSS JOIN LATERAL (
                    SELECT ctid FROM ready WHERE rank = p.rank AND job_id = i.job_id FOR UPDATE OFFSET 0) found) i
         WHERE r.ctid = i.ctid AND r.job_id = i.job_id AND r.run_at = i.run_at
           AND i.lease_seq = greatest((SELECT max(lease_seq) FROM attempts WHERE job_id = i.job_id), 0)
           AND (r.attempt > 0 OR (r.kind, r.options) IS DISTINCT FROM (i.kind, i.options))
        RETURNING r.job_id, i.priority, i.max_attempts, i.kind, i.options, r.run_at, i.lease_seq
    ), changed AS (
        UPDATE jobs j SET request_no = nextval('request_seq'), since = r.lease_seq, priority = r.priority,
               max_attempts = r.max_attempts, due_at = r.run_at, reset_at = now(), kind = r.kind, options = r.options
          FROM (SELECT r.*, jobs.request_no AS old_request_no
                  FROM restarted r JOIN jobs ON jobs.id = r.job_id ORDER BY jobs.id FOR UPDATE OF jobs) r
         WHERE j.id = r.job_id
        RETURNING j.id AS job_id, j.model_id, r.old_request_no, 0 AS attempt
    ), frozen AS ({_FREEZE}
    ), {announce("Pending", "changed")}
    SELECT job_id FROM changed
    """,
)

RERUN = Statement(
    "revive_rerun",
    _PARAMETERS,
    f"""
    {_INPUT}, held AS MATERIALIZED (
        SELECT l.job_id FROM leases l JOIN input i ON l.job_id = i.job_id AND l.lease_seq = i.lease_seq
         ORDER BY l.lease_seq, l.job_id FOR UPDATE OF l
    )
    UPDATE leases l SET rerun_request_no = nextval('request_seq'), rerun_kind = i.kind, rerun_options = i.options
      FROM input i
     WHERE l.job_id = ANY (ARRAY (SELECT job_id FROM held)) AND i.job_id = l.job_id
    RETURNING l.job_id
    """,
)

# Jobs become the newest requests of their models again, each newer than those before it. The number that is guarded
# stands in the job, or in the mark of its lease. What a job shows follows its number, except a failure of an earlier
# run.
RENEW = Statement(
    "revive_renew",
    "job_ids bigint[], request_nos bigint[]",
    """
    WITH input AS (
        SELECT * FROM unnest($1::bigint[], $2::bigint[]) WITH ORDINALITY AS i (job_id, request_no, place)
    ), marked AS MATERIALIZED (
        SELECT l.job_id FROM leases l JOIN input i ON l.job_id = i.job_id
         WHERE l.rerun_request_no = i.request_no ORDER BY l.lease_seq, l.job_id FOR UPDATE OF l
    ), locked AS MATERIALIZED (
        SELECT j.id FROM jobs j JOIN input i ON j.id = i.job_id
         WHERE j.request_no = i.request_no ORDER BY j.id FOR UPDATE OF j
    ), numbered AS MATERIALIZED (
        SELECT job_id, is_marked, nextval('request_seq') AS request_no
          FROM (SELECT i.*, job_id IN (SELECT job_id FROM marked) AS is_marked FROM input i ORDER BY place) i
         WHERE is_marked OR job_id IN (SELECT id FROM locked)
    ), remarked AS (
        UPDATE leases l SET rerun_request_no = n.request_no
          FROM numbered n WHERE n.is_marked AND l.job_id = n.job_id
    ), renewed AS (
        UPDATE jobs j SET request_no = n.request_no
          FROM numbered n WHERE NOT n.is_marked AND j.id = n.job_id
    ), followed AS (
        UPDATE attempts a SET request_no = NULL
          FROM numbered n
         WHERE NOT n.is_marked AND a.job_id = n.job_id AND a.request_no IS NOT NULL AND a.outcome = 'Completed'
    )
    SELECT job_id FROM numbered
    """,
)

# How a job starts again. The parameters are those of _INPUT.
REVIVE = {Revival.RESET: RESET, Revival.RESTART: RESTART, Revival.RERUN: RERUN}


class Revived(NamedTuple):
    """A job as it was found, and what is asked of it now. The order is that of the statements' parameters."""

    job_id: int
    request_no: int
    lease_seq: int
    priority: int
    max_attempts: int
    delay: float
    run_at: datetime | None
    # as the tables have it
    kind: str | None
    options: str | None


async def carry_out(lane: Lane, plan: Revival, jobs: Sequence[Revived]) -> set[int]:
    """Return the jobs with which `plan` succeeded. `jobs` are in the order of their ids."""
    done = {row["job_id"] for row in await lane.fetch(REVIVE[plan], *columns(jobs, 9))}
    if done and plan in {Revival.RESET, Revival.RESTART}:
        lane.hints.tell(JOBS)
    return done


async def renew(lane: Lane, jobs: Sequence[tuple[int, int]]) -> set[int]:
    """Return the jobs that became the newest requests, in their order. `jobs` are ids and request numbers as found."""
    return {row["job_id"] for row in await lane.fetch(RENEW, *columns(jobs, 2))}
