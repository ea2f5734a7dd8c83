"""Jobs that exist already: an enqueue keeps, renews, resets, restarts or marks them, as `domain/job` says."""

from collections.abc import Container, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

import asyncpg

from thumbq_runtime.process.pieces import pieces
from thumbq_server.domain.job import MODEL, Enqueued, EnqueueOutcome, JobStatus, NewJob, Revival, revival
from thumbq_server.domain.same_job import JobKey, key_of
from thumbq_server.storage.fragments import columns
from thumbq_server.storage.postgres.database import Database
from thumbq_server.storage.postgres.errors import Unavailable
from thumbq_server.storage.postgres.lane import Lane
from thumbq_server.storage.statements import Statement
from thumbq_server.storage.transitions.revivals import Revived, carry_out, renew

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
                            < greatest(s.request_no, r.request_no))
              FROM jobs o WHERE o.model_id = s.model_id AND o.id <> s.id) IS NOT FALSE AS newest
      FROM unnest($1::bigint[], $2::bytea[]) AS i (model_id, model_hash)
     CROSS JOIN LATERAL (
        SELECT * FROM job_records WHERE model_id = i.model_id AND model_hash = i.model_hash OFFSET 0) s
      LEFT JOIN LATERAL (
        SELECT job_id, status FROM thumbnails WHERE model_id = i.model_id OFFSET 0) t
        ON t.job_id = s.id AND t.status = 'Ready'
      LEFT JOIN LATERAL (
        SELECT rerun_request_no AS request_no, coalesce(rerun_kind, 'Model') AS kind, rerun_options AS options
          FROM leases WHERE job_id = s.id AND rerun_request_no IS NOT NULL OFFSET 0) r ON true
    """,
)

_ROUNDS = 20


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


async def revive(lane: Lane, jobs: Mapping[JobKey, NewJob], *, renewing: bool = True) -> dict[JobKey, Enqueued]:
    """Keep, reset, restart or mark jobs that exist. Look again at those that changed meanwhile.

    A job that is gone, because its model was forgotten just now, has no answer. With `renewing`, a job that is kept
    becomes the newest request of its model.
    """
    wanted = dict(jobs)
    answers: dict[JobKey, Enqueued] = {}
    # Of several files of one model only one can be the newest, so each is renewed once.
    renewed: set[int] = set()
    for _ in range(_ROUNDS):
        rows = await lane.fetch(FIND, *columns(list(wanted), 2))
        found = {(row["model_id"], row["model_hash"]) for row in rows}
        wanted = {key: job for key, job in wanted.items() if key in found}
        plans = await _plans(rows, wanted, answers, renewed if renewing else None)
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
    if plan is Revival.KEEP:
        return await renew(lane, [(row.job_id, row.request_no) for row in known])
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
