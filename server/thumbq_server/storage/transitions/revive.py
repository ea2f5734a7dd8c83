"""Jobs that exist already: an enqueue keeps, renews, resets, restarts or marks them. Each change is guarded."""

from collections.abc import Container, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

import asyncpg

from thumbq_runtime.process.pieces import pieces
from thumbq_server.domain.job import MODEL, Enqueued, EnqueueOutcome, JobStatus, NewJob, Revival, revival
from thumbq_server.domain.same_job import JobKey, key_of
from thumbq_server.storage.fragments import announce, columns, put_in_queue, rank
from thumbq_server.storage.postgres.database import Database
from thumbq_server.storage.postgres.errors import Unavailable
from thumbq_server.storage.postgres.hints import JOBS
from thumbq_server.storage.postgres.lane import Lane
from thumbq_server.storage.statements import Statement

# `newest`: no other job of the model was asked for later. `shown`: its picture is the one that the model has now. Each
# job is looked up by itself, since a plan for all of them may scan the tables.
FIND = Statement(
    "revive_find",
    "model_ids bigint[], model_hashes bytea[]",
    """
    SELECT s.id AS job_id, s.model_id, s.model_hash, s.status, s.attempt_count, s.lease_seq, s.request_no, s.run_at,
           CASE WHEN r.kind IS NULL THEN s.kind ELSE r.kind END AS kind,
           CASE WHEN r.kind IS NULL THEN s.options ELSE r.options END AS options, t.job_id IS NOT NULL AS shown,
           (SELECT bool_and(greatest(o.request_no, (SELECT rerun_request_no FROM leases WHERE job_id = o.id))
                            < s.request_no)
              FROM jobs o WHERE o.model_id = s.model_id AND o.id <> s.id) IS NOT FALSE AS newest
      FROM unnest($1::bigint[], $2::bytea[]) AS i (model_id, model_hash)
     CROSS JOIN LATERAL (
        SELECT * FROM job_records WHERE model_id = i.model_id AND model_hash = i.model_hash OFFSET 0) s
      LEFT JOIN LATERAL (
        SELECT job_id, status FROM thumbnails WHERE model_id = i.model_id OFFSET 0) t
        ON t.job_id = s.id AND t.status = 'Ready'
      LEFT JOIN LATERAL (
        SELECT coalesce(rerun_kind, 'Model') AS kind, rerun_options AS options FROM leases
         WHERE job_id = s.id AND rerun_request_no IS NOT NULL OFFSET 0) r ON true
    """,
)

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

# A live job, or a shown picture, becomes the newest request of its model again. What it shows follows its number.
RENEW = Statement(
    "revive_renew",
    _PARAMETERS,
    f"""
    {_INPUT}, renewed AS (
        UPDATE jobs j SET request_no = nextval('request_seq')
         WHERE j.id = ANY (ARRAY (
            SELECT j.id FROM jobs j JOIN input i ON j.id = i.job_id
             WHERE j.request_no = i.request_no ORDER BY j.id FOR UPDATE OF j))
        RETURNING j.id AS job_id
    ), followed AS (
        UPDATE attempts a SET request_no = NULL
          FROM renewed r WHERE a.job_id = r.job_id AND a.request_no IS NOT NULL
    )
    SELECT job_id FROM renewed
    """,
)

# How a job is revived. The parameters are those of _INPUT.
REVIVE = {Revival.KEEP: RENEW, Revival.RESET: RESET, Revival.RESTART: RESTART, Revival.RERUN: RERUN}

_ROUNDS = 20


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


class _Known(NamedTuple):
    """A job that exists, as FIND answers."""

    job_id: int
    model_id: int
    model_hash: bytes
    status: JobStatus
    attempt_count: int
    lease_seq: int
    request_no: int
    run_at: datetime | None
    kind: str
    options: str | None
    shown: bool
    newest: bool

    @property
    def key(self) -> JobKey:
        return self.model_id, self.model_hash


def stored_kind(kind: str) -> str | None:
    """Return a kind as the tables have it."""
    return None if kind == MODEL else kind


async def revive(
    lane: Lane, jobs: Mapping[JobKey, NewJob], *, renew: bool = True, only_renew: bool = False
) -> dict[JobKey, Enqueued]:
    """Keep, reset, restart or mark jobs that exist. Look again at those that changed meanwhile.

    A job that is gone, because its model was forgotten just now, has no answer. With `renew`, a job that is kept
    becomes the newest request of its model. With `only_renew`, the others stay as they are, and have no answer.
    """
    wanted = dict(jobs)
    answers: dict[JobKey, Enqueued] = {}
    # Of several files of one model only one can be the newest, so each is renewed once.
    renewed: set[int] = set()
    for _ in range(_ROUNDS):
        rows = await lane.fetch(FIND, *columns(list(wanted), 2))
        found = {(row["model_id"], row["model_hash"]) for row in rows}
        wanted = {key: job for key, job in wanted.items() if key in found}
        plans = await _plans(rows, wanted, answers, renewed if renew else None)
        if only_renew:
            plans = {plan: known for plan, known in plans.items() if plan is Revival.KEEP}
            kept = {row.key for known in plans.values() for row in known}
            wanted = {key: job for key, job in wanted.items() if key in kept}
        for plan, known in plans.items():
            done = await _carry_out(lane, plan, known, wanted)
            if plan is Revival.KEEP:
                # They are looked at once more: a picture may have been replaced just before.
                renewed |= done
                continue
            for row in known:
                if row.job_id in done:
                    answers[row.key] = Enqueued(row.job_id, EnqueueOutcome.RESET)
                    del wanted[row.key]
        if not wanted:
            return answers
    raise Unavailable("jobs kept changing while they were enqueued")


async def add_nothing(database: Database, jobs: Sequence[NewJob]) -> set[NewJob]:
    """Return the requests for jobs that exist, and that an enqueue would leave with as much work to do as they have."""
    wanted: dict[JobKey, list[NewJob]] = {}
    for job in jobs:
        wanted.setdefault(key_of(job), []).append(job)
    known: set[NewJob] = set()
    async for piece in pieces(await database.fetch(FIND, *columns(list(wanted), 2))):
        for row in map(_Known._make, piece):
            known |= {job for job in wanted[row.key] if _plan(row, job) in {Revival.KEEP, Revival.RESTART}}
    return known


def _plan(row: _Known, job: NewJob) -> Revival:
    differs = job.differs_from(row.kind, row.options)
    return revival(JobStatus(row.status), row.attempt_count, shown=row.shown, force=job.force, differs=differs)


async def _plans(
    rows: Sequence[asyncpg.Record],
    wanted: dict[JobKey, NewJob],
    answers: dict[JobKey, Enqueued],
    renewed: Container[int] | None,
) -> dict[Revival, list[_Known]]:
    """Return what has to be done to which jobs. Those that are as they are wanted move from `wanted` to `answers`.

    A job that is kept is renewed, unless it is the newest or among `renewed`. None stands for all jobs.
    """
    plans: dict[Revival, list[_Known]] = {}
    async for piece in pieces(rows):
        for row in map(_Known._make, piece):
            job = wanted[row.key]
            plan = _plan(row, job)
            if plan is Revival.KEEP and (row.newest or renewed is None or row.job_id in renewed):
                answers[row.key] = Enqueued(row.job_id, EnqueueOutcome.EXISTING)
                del wanted[row.key]
            else:
                plans.setdefault(plan, []).append(row)
    return plans


async def _carry_out(lane: Lane, plan: Revival, known: Sequence[_Known], wanted: Mapping[JobKey, NewJob]) -> set[int]:
    """Return the jobs with which `plan` succeeded; the others have changed meanwhile."""
    revived = []
    async for piece in pieces(sorted(known, key=lambda row: row.job_id)):
        for row in piece:
            job = wanted[row.key]
            revived.append(
                Revived(
                    job_id=row.job_id,
                    request_no=row.request_no,
                    lease_seq=row.lease_seq,
                    priority=job.priority,
                    max_attempts=job.max_attempts,
                    delay=job.delay,
                    run_at=row.run_at,
                    kind=stored_kind(job.kind),
                    options=job.options,
                )
            )
    return await carry_out(lane, plan, revived)


async def carry_out(lane: Lane, plan: Revival, jobs: Sequence[Revived]) -> set[int]:
    """Return the jobs with which `plan` succeeded. `jobs` are in the order of their ids."""
    done = {row["job_id"] for row in await lane.fetch(REVIVE[plan], *columns(jobs, 9))}
    if done and plan in {Revival.RESET, Revival.RESTART}:
        lane.hints.tell(JOBS)
    return done
