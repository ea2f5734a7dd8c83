"""Enqueueing: a job is created, or a known one is found, kept or started anew. Each change is guarded."""

from collections.abc import Mapping, Sequence
from enum import Enum
from functools import partial
from typing import Any, NamedTuple

import asyncpg

from thumbq_server.domain.job import ClaimedJob, NewJob, Revival, revival
from thumbq_server.storage.claims import NOBODY, Takers
from thumbq_server.storage.database import Lane, Unavailable, columns
from thumbq_server.storage.sql import announce, rank


class Outcome(Enum):
    """What an enqueue found."""

    CREATED = "created"
    EXISTING = "existing"
    RESET = "reset"


class Enqueued(NamedTuple):
    """The answer to one NewJob."""

    job_id: int
    outcome: Outcome


# Only what is new is inserted here. Looking known jobs up in the same statement made it four times slower, and a join
# back to the input is a loop in a loop, since the planner expects one row of each step.
_CREATED = """created AS (
        INSERT INTO jobs (model_id, model_hash, priority, max_attempts, due_at)
        SELECT model_id, model_hash, priority, max_attempts, now() + delay * interval '1 second'
          FROM unnest($1::bigint[], $2::bytea[], $3::smallint[], $4::smallint[], $5::float8[])
            AS i (model_id, model_hash, priority, max_attempts, delay)
        ON CONFLICT (model_id, model_hash) DO NOTHING
        RETURNING id AS job_id, model_id, model_hash, priority, max_attempts, created_at, due_at, 0 AS attempt
    )"""

_CREATE = f"""
    WITH {_CREATED}, queued AS (
        INSERT INTO ready (job_id, rank, run_at, attempt, lease_seq)
        SELECT job_id, {rank("due_at", "priority")}, due_at, 0, 0 FROM created
    ), {announce("Pending", "created", wake="'jobs'")}
    SELECT array_agg(job_id) AS job_ids, array_agg(model_id) AS model_ids, array_agg(model_hash) AS model_hashes
      FROM created
"""

_LEFT_OVER = "CASE WHEN (SELECT count(*) FROM queued) > 0 THEN 'jobs' ELSE 'log' END"

# Workers wait: as many jobs as there are takers go straight into their hands, and the rest into the queue.
_CREATE_AND_CLAIM = f"""
    WITH {_CREATED}, ranked AS (
        SELECT *, {rank("due_at", "priority")} AS rank, due_at <= now() AS is_due FROM created
    ), numbered AS (
        SELECT *, (row_number() OVER (ORDER BY is_due DESC, rank, job_id))::int AS slot FROM ranked
    ), leased AS (
        INSERT INTO leases (job_id, lease_seq, worker, attempt, rank, run_at, claimed_at, expires_at, claim_id)
        SELECT job_id, 1, ($6::bigint[])[slot], 1, rank, due_at, now(),
               now() + ($7::int[])[slot] * interval '1 second', $8
          FROM numbered WHERE is_due AND slot <= cardinality($6)
    ), queued AS (
        INSERT INTO ready (job_id, rank, run_at, attempt, lease_seq)
        SELECT job_id, rank, due_at, 0, 0 FROM numbered WHERE NOT (is_due AND slot <= cardinality($6))
        RETURNING job_id
    ), {announce("Pending", "created", wake=_LEFT_OVER)}
    SELECT now() AS claimed_at, count(*) FILTER (WHERE is_due) AS due, array_agg(job_id) AS job_ids,
           array_agg(model_id) AS model_ids, array_agg(model_hash) AS model_hashes, array_agg(priority) AS priorities,
           array_agg(max_attempts) AS max_attempts
      FROM (SELECT * FROM numbered ORDER BY slot) n
"""

# `newest`: no other job of the model was asked for later. `shown`: its picture is the one that the model has now.
_FIND = """
    SELECT s.id AS job_id, s.model_id, s.model_hash, s.status, s.attempt_count, s.lease_seq, s.request_no,
           t.job_id IS NOT NULL AS shown,
           NOT EXISTS (
             SELECT FROM jobs o LEFT JOIN leases l ON l.job_id = o.id
              WHERE o.model_id = s.model_id AND o.id <> s.id
                AND greatest(o.request_no, l.rerun_request_no) > s.request_no) AS newest
      FROM unnest($1::bigint[], $2::bytea[]) AS i (model_id, model_hash)
      JOIN job_states s USING (model_id, model_hash)
      LEFT JOIN thumbnails t ON t.model_id = s.model_id AND t.job_id = s.id AND t.status = 'Ready'
"""

_INPUT = """
    WITH input AS (
        SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::int[], $4::smallint[], $5::smallint[], $6::float8[])
            AS i (job_id, request_no, lease_seq, priority, max_attempts, delay)
    )"""

# Ended jobs start anew. The guard is request_no: whoever came first has moved it.
_RESET = f"""
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
        wake="'jobs'",
    )
}
    SELECT job_id FROM changed
"""

# Pending jobs that wait for a retry forget their failures.
_RESTART = f"""
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
    ), {announce("Pending", "changed", wake="'jobs'")}
    SELECT job_id FROM changed
"""

_RERUN = f"""
    {_INPUT}
    UPDATE leases l SET rerun_request_no = nextval('request_seq')
      FROM input i WHERE l.job_id = i.job_id AND l.lease_seq = i.lease_seq
    RETURNING l.job_id
"""

# A live job, or a shown picture, becomes the newest request of its model again. Two statements of one transaction: an
# end of the job that the first has waited for shows something that only the second sees.
RENEW = f"""
    {_INPUT}
    UPDATE jobs j SET request_no = nextval('request_seq')
      FROM input i WHERE j.id = i.job_id AND j.request_no = i.request_no
    RETURNING j.id AS job_id
"""
_RENEW_SHOWN = """
    WITH renewed AS (
        SELECT j.id, j.model_id, j.request_no
          FROM jobs j JOIN thumbnails t ON t.model_id = j.model_id AND t.job_id = j.id
         WHERE j.id = ANY ($1::bigint[]) ORDER BY t.model_id FOR UPDATE OF t
    )
    UPDATE thumbnails t SET request_no = r.request_no
      FROM renewed r WHERE t.model_id = r.model_id AND t.job_id = r.id
"""

# How a job is revived. The parameters are those of _INPUT.
STATEMENTS = {Revival.RESET: _RESET, Revival.RESTART: _RESTART, Revival.RERUN: _RERUN}
_ROUNDS = 20


async def enqueue(lane: Lane, jobs: Sequence[NewJob]) -> list[Enqueued]:
    """Enqueue all of `jobs`; the answers are in their order. Asking twice finds the same job."""
    answers, _ = await enqueue_and_claim(lane, jobs, NOBODY)
    return answers


async def enqueue_and_claim(
    lane: Lane, jobs: Sequence[NewJob], takers: Takers
) -> tuple[list[Enqueued], list[ClaimedJob]]:
    """Enqueue all of `jobs`, and give those that are new and due to `takers`, as far as these go.

    It saves them the way through the queue, so it is for takers who have found that empty.
    """
    # Concurrent batches lock in one order, or they deadlock. Of those that ask for the same, the most urgent decides.
    batch = sorted(jobs, key=lambda job: (job.model_id, job.model_hash, job.delay))
    new = columns([_row(job) for job in batch], 5)
    claimed: list[ClaimedJob] = []
    if takers.workers:
        (row,) = await lane.fetch(_CREATE_AND_CLAIM, *new, *takers)
        if row["due"]:
            claimed = takers.claimed(row["claimed_at"], _columns_of_claimed(row))
    else:
        (row,) = await lane.fetch(_CREATE, *new)
    created = (
        dict(zip(zip(row["model_ids"], row["model_hashes"], strict=True), row["job_ids"], strict=True))
        if row["job_ids"]
        else {}
    )
    missing = [job for job in batch if _key(job) not in created] if len(created) < len(batch) else []
    known = await _revive(lane, missing) if missing else {}
    answers: list[Enqueued] = []
    for job in jobs:
        key = _key(job)
        answer = known.get(key) or Enqueued(created[key], Outcome.CREATED)
        answers.append(answer)
        known[key] = Enqueued(answer.job_id, Outcome.EXISTING)
    return answers, claimed


def _columns_of_claimed(row: asyncpg.Record) -> Sequence[Sequence[Any]]:
    due = row["due"]
    model_ids, model_hashes = row["model_ids"], row["model_hashes"]
    once, now = (1,) * due, (row["claimed_at"],) * due
    return row["job_ids"][:due], once, model_ids, model_hashes, once, row["priorities"], row["max_attempts"], now


async def _revive(lane: Lane, jobs: Sequence[NewJob]) -> dict[tuple[int, bytes], Enqueued]:
    """Keep, reset, restart or mark jobs that exist; look again at those that moved under our hands."""
    wanted: dict[tuple[int, bytes], NewJob] = {}
    for job in jobs:
        first = wanted.setdefault(_key(job), job)
        if job.force:
            wanted[_key(job)] = first._replace(force=True)
    answers: dict[tuple[int, bytes], Enqueued] = {}
    for _ in range(_ROUNDS):
        rows = await lane.fetch(_FIND, *columns(list(wanted), 2))
        plans: dict[Revival, list[asyncpg.Record]] = {}
        for row in rows:
            key = (row["model_id"], row["model_hash"])
            plan = revival(row["status"], row["attempt_count"], row["shown"], wanted[key].force)
            if plan is Revival.KEEP and row["newest"]:
                answers[key] = Enqueued(row["job_id"], Outcome.EXISTING)
                del wanted[key]
            else:
                plans.setdefault(plan, []).append(row)
        for plan, known in plans.items():
            done = await _carry_out(lane, plan, known, wanted)
            for row in known:
                # a renewed job is looked at once more: its picture may have been replaced just before
                if row["job_id"] in done and plan is not Revival.KEEP:
                    key = (row["model_id"], row["model_hash"])
                    answers[key] = Enqueued(row["job_id"], Outcome.RESET)
                    del wanted[key]
        if not wanted:
            return answers
    raise Unavailable("jobs kept changing while they were enqueued")


async def _carry_out(
    lane: Lane, plan: Revival, known: Sequence[asyncpg.Record], wanted: Mapping[tuple[int, bytes], NewJob]
) -> set[int]:
    """The jobs with which `plan` succeeded; the others have changed meanwhile."""
    inputs = []
    for row in sorted(known, key=lambda row: row["job_id"]):
        job = wanted[row["model_id"], row["model_hash"]]
        inputs.append((row["job_id"], row["request_no"], row["lease_seq"], job.priority, job.max_attempts, job.delay))
    if plan is Revival.KEEP:
        return set(await lane.run(partial(_renew, inputs=columns(inputs, 6))))
    return {row["job_id"] for row in await lane.fetch(STATEMENTS[plan], *columns(inputs, 6))}


async def _renew(connection: asyncpg.Connection, inputs: Sequence[Sequence[object]]) -> list[int]:
    async with connection.transaction():
        renewed = [row["job_id"] for row in await connection.fetch(RENEW, *inputs)]
        await connection.execute(_RENEW_SHOWN, renewed)
        return renewed


def _key(job: NewJob) -> tuple[int, bytes]:
    return job.model_id, job.model_hash


def _row(job: NewJob) -> tuple[int, bytes, int, int, float]:
    return job.model_id, job.model_hash, job.priority, job.max_attempts, job.delay
