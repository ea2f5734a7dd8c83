"""Jobs that exist already: an enqueue keeps, renews, resets, restarts or marks them. Each change is guarded."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import NamedTuple

import asyncpg

from thumbq_server.domain.job import Enqueued, EnqueueOutcome, JobStatus, NewJob, Revival, revival
from thumbq_server.storage.fragments import WAKE_JOBS, announce, columns, rank
from thumbq_server.storage.postgres.errors import Unavailable
from thumbq_server.storage.postgres.lane import Lane
from thumbq_server.storage.statements import Statement

# `newest`: no other job of the model was asked for later. `shown`: its picture is the one that the model has now.
FIND = Statement(
    "revive_find",
    "model_ids bigint[], model_hashes bytea[]",
    """
    SELECT s.id AS job_id, s.model_id, s.model_hash, s.status, s.attempt_count, s.lease_seq, s.request_no,
           t.job_id IS NOT NULL AS shown,
           NOT EXISTS (
             SELECT FROM jobs o LEFT JOIN leases l ON l.job_id = o.id
              WHERE o.model_id = s.model_id AND o.id <> s.id
                AND greatest(o.request_no, l.rerun_request_no) > s.request_no) AS newest
      FROM unnest($1::bigint[], $2::bytea[]) AS i (model_id, model_hash)
      JOIN job_states s USING (model_id, model_hash)
      LEFT JOIN thumbnails t ON t.model_id = s.model_id AND t.job_id = s.id AND t.status = 'Ready'
    """,
)

_PARAMETERS = (
    "job_ids bigint[], request_nos bigint[], lease_seqs integer[], priorities smallint[], max_attempts smallint[],"
    " delays double precision[]"
)
_INPUT = """
    WITH input AS (
        SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::int[], $4::smallint[], $5::smallint[], $6::float8[])
            AS i (job_id, request_no, lease_seq, priority, max_attempts, delay)
    )"""

# Ended jobs start again. The guard is request_no: the first of several has moved it.
RESET = Statement(
    "revive_reset",
    _PARAMETERS,
    f"""
    {_INPUT}, before AS (
        SELECT i.*, j.outcome FROM jobs j JOIN input i ON j.id = i.job_id
         WHERE j.request_no = i.request_no AND j.outcome IS NOT NULL ORDER BY j.id FOR UPDATE OF j
    ), changed AS (
        UPDATE jobs j SET outcome = NULL, finished_at = NULL, error_message = NULL, attempt_count = 0,
               request_no = nextval('request_seq'), priority = b.priority, max_attempts = b.max_attempts,
               due_at = now() + b.delay * interval '1 second', updated_at = now()
          FROM before b WHERE j.id = b.job_id
        RETURNING j.id AS job_id, j.model_id, j.priority, j.lease_seq, j.due_at, b.outcome, 0 AS attempt
    ), exhumed AS (
        DELETE FROM dead_letters d USING changed c WHERE d.job_id = c.job_id
    ), queued AS (
        INSERT INTO ready (job_id, rank, run_at, attempt, lease_seq)
        SELECT job_id, {rank("due_at", "priority")}, due_at, 0, lease_seq FROM changed
    ), {
        announce(
            "Pending",
            "changed",
            completed="-(SELECT count(*) FROM changed WHERE outcome = 'Completed')",
            wake=WAKE_JOBS,
        )
    }
    SELECT job_id FROM changed
    """,
)

# Pending jobs that wait for a retry forget their failures.
RESTART = Statement(
    "revive_restart",
    _PARAMETERS,
    f"""
    {_INPUT}, restarted AS (
        UPDATE ready r SET attempt = 0, run_at = now() + make_interval(secs => i.delay),
               rank = {rank("(now() + make_interval(secs => i.delay))", "i.priority")}
          FROM input i WHERE r.job_id = i.job_id AND r.lease_seq = i.lease_seq AND r.attempt > 0
        RETURNING r.job_id, i.priority, i.max_attempts
    ), changed AS (
        UPDATE jobs j SET error_message = NULL, request_no = nextval('request_seq'), priority = r.priority,
               max_attempts = r.max_attempts, updated_at = now()
          FROM restarted r WHERE j.id = r.job_id
        RETURNING j.id AS job_id, j.model_id, 0 AS attempt
    ), {announce("Pending", "changed", wake=WAKE_JOBS)}
    SELECT job_id FROM changed
    """,
)

RERUN = Statement(
    "revive_rerun",
    _PARAMETERS,
    f"""
    {_INPUT}
    UPDATE leases l SET rerun_request_no = nextval('request_seq')
      FROM input i WHERE l.job_id = i.job_id AND l.lease_seq = i.lease_seq
    RETURNING l.job_id
    """,
)

# A live job, or a shown picture, becomes the newest request of its model again. Two statements of one
# transaction: if the first waited for a concurrent completion, only a second snapshot sees the thumbnail that it wrote.
RENEW = Statement(
    "revive_renew",
    _PARAMETERS,
    f"""
    {_INPUT}
    UPDATE jobs j SET request_no = nextval('request_seq')
      FROM input i WHERE j.id = i.job_id AND j.request_no = i.request_no
    RETURNING j.id AS job_id
    """,
)

RENEW_SHOWN = Statement(
    "revive_renew_shown",
    "job_ids bigint[]",
    """
    WITH renewed AS (
        SELECT j.id, j.model_id, j.request_no
          FROM jobs j JOIN thumbnails t ON t.model_id = j.model_id AND t.job_id = j.id
         WHERE j.id = ANY ($1::bigint[]) ORDER BY t.model_id FOR UPDATE OF t
    )
    UPDATE thumbnails t SET request_no = r.request_no
      FROM renewed r WHERE t.model_id = r.model_id AND t.job_id = r.id
    """,
)

# How a job is revived. The parameters are those of _INPUT.
REVIVE = {Revival.RESET: RESET, Revival.RESTART: RESTART, Revival.RERUN: RERUN}

_ROUNDS = 20

# What makes two requests the same job: model_id and model_hash.
JobKey = tuple[int, bytes]


class _Known(NamedTuple):
    """A job that exists, as FIND answers."""

    job_id: int
    model_id: int
    model_hash: bytes
    status: JobStatus
    attempt_count: int
    lease_seq: int
    request_no: int
    shown: bool
    newest: bool

    @property
    def key(self) -> JobKey:
        return self.model_id, self.model_hash


def key_of(job: NewJob) -> JobKey:
    """Return what makes two requests the same job."""
    return job.model_id, job.model_hash


async def revive(lane: Lane, jobs: Sequence[NewJob]) -> dict[JobKey, Enqueued]:
    """Keep, reset, restart or mark jobs that exist. Look again at those that changed meanwhile."""
    wanted: dict[JobKey, NewJob] = {}
    for job in jobs:
        first = wanted.setdefault(key_of(job), job)
        if job.force:
            wanted[key_of(job)] = first._replace(force=True)
    answers: dict[JobKey, Enqueued] = {}
    for _ in range(_ROUNDS):
        plans: dict[Revival, list[_Known]] = {}
        for row in map(_Known._make, await lane.fetch(FIND, *columns(list(wanted), 2))):
            plan = revival(JobStatus(row.status), row.attempt_count, shown=row.shown, force=wanted[row.key].force)
            if plan is Revival.KEEP and row.newest:
                answers[row.key] = Enqueued(row.job_id, EnqueueOutcome.EXISTING)
                del wanted[row.key]
            else:
                plans.setdefault(plan, []).append(row)
        for plan, known in plans.items():
            done = await _carry_out(lane, plan, known, wanted)
            # a renewed job is looked at once more: its picture may have been replaced just before
            for row in known if plan is not Revival.KEEP else ():
                if row.job_id in done:
                    answers[row.key] = Enqueued(row.job_id, EnqueueOutcome.RESET)
                    del wanted[row.key]
        if not wanted:
            return answers
    raise Unavailable("jobs kept changing while they were enqueued")


async def _carry_out(lane: Lane, plan: Revival, known: Sequence[_Known], wanted: Mapping[JobKey, NewJob]) -> set[int]:
    """Return the jobs with which `plan` succeeded; the others have changed meanwhile."""
    inputs = []
    for row in sorted(known):
        job = wanted[row.key]
        inputs.append((row.job_id, row.request_no, row.lease_seq, job.priority, job.max_attempts, job.delay))
    if plan is Revival.KEEP:
        return set(await lane.run(partial(_renew, inputs=columns(inputs, 6))))
    return {row["job_id"] for row in await lane.fetch(REVIVE[plan], *columns(inputs, 6))}


async def _renew(connection: asyncpg.Connection, inputs: Sequence[Sequence[object]]) -> list[int]:
    async with connection.transaction():
        renewed = [row["job_id"] for row in await connection.fetch(RENEW.text, *inputs)]
        await connection.execute(RENEW_SHOWN.text, renewed)
        return renewed
