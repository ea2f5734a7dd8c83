"""Comparing the visible state of the store with its model."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

import asyncpg

from tests.store.model.model_records import Announcement, Job, Refuted, Thumbnail
from tests.store.model.queue_state import CHOSEN, QueueState
from thumbq_server.domain.job import MODEL, NewJob
from thumbq_server.domain.records import CommitRecord
from thumbq_server.storage import notification_log
from thumbq_server.storage.postgres.database import Database
from thumbq_server.storage.reads.thumbnails import read_thumbnails

# No step takes longer, and no delay is as short, so that what is due is beyond doubt.
SLACK = 600.0

_JOBS = """
    SELECT s.*, l.session, l.expires_at <= now() AS overdue, l.rerun_request_no, l.rerun_kind, l.rerun_options
      FROM job_records s LEFT JOIN leases l ON l.job_id = s.id ORDER BY s.id
"""
_THUMBNAILS = "SELECT * FROM thumbnails"
_NOW = "SELECT now()"


@dataclass
class Observation:
    """The store at rest, and what it has announced since the last look."""

    now: datetime
    jobs: dict[int, Job]
    thumbnails: dict[int, Thumbnail]
    # what a page is told of each model that has jobs
    statuses: dict[int, str]
    announced: list[Announcement]
    head: int


async def observe(database: Database, cursor: int) -> Observation:
    """Look into every table; `cursor` is the head of the log at the last look."""
    jobs = {row["id"]: _job(row) for row in await database.fetch(_JOBS)}
    models = sorted({job.request.model_id for job in jobs.values()})
    return Observation(
        now=(await database.fetch(_NOW))[0][0],
        jobs=jobs,
        statuses={told.model_id: told.status for told in await read_thumbnails(database, models)},
        thumbnails={row["model_id"]: _thumbnail(row) for row in await database.fetch(_THUMBNAILS)},
        announced=[
            event for row in await notification_log.after(database, cursor, 1000) for event in _announcements(row)
        ],
        head=(await notification_log.head(database))[1],
    )


def _job(row: asyncpg.Record) -> Job:
    request = NewJob(row["model_id"], row["model_hash"], row["priority"], row["max_attempts"], force=False, delay=0.0)
    request = request._replace(kind=row["kind"], options=row["options"])
    rerun = row["rerun_request_no"]
    return Job(
        row["id"],
        request,
        row["request_no"],
        row["run_at"],
        row["status"],
        row["attempt_count"],
        row["lease_seq"],
        row["error_message"],
        row["session"],
        bool(row["overdue"]),
        rerun,
        None if rerun is None else (row["rerun_kind"] or MODEL, row["rerun_options"]),
    )


def _thumbnail(row: asyncpg.Record) -> Thumbnail:
    return Thumbnail(
        row["job_id"],
        row["request_no"],
        row["attempt"],
        row["status"],
        row["error_message"],
        row["next_attempt_at"] is not None,
        row["path"],
    )


def _announcements(row: CommitRecord) -> Iterator[Announcement]:
    nothing = [None] * len(row.model_ids)
    columns = (
        row.model_ids,
        row.job_ids,
        row.attempt_counts,
        row.error_messages or nothing,
        row.next_attempt_ats or nothing,
    )
    for model_id, job_id, attempt, error_message, next_attempt_at in zip(*columns, strict=True):
        yield Announcement(row.status, model_id, job_id, attempt, error_message, next_attempt_at is not None)


def compare(
    model: QueueState, seen: Observation, announced: Sequence[Sequence[Announcement]], known: int, *, in_order: bool
) -> None:
    """Raise Refuted unless the store is as the model says.

    `announced` are the announcements of each verb, which stand in the log in the order of the verbs. Requests with
    numbers up to `known` have kept them; later ones are newer, and in the model's order if `in_order`.
    """
    _same("jobs", model.jobs.keys(), seen.jobs.keys())
    for job_id, job in model.jobs.items():
        other = seen.jobs[job_id]
        told = replace(job, lease_seq=other.lease_seq) if job.lease_seq == CHOSEN else job
        _same(f"job {job_id}", _visible(told), _visible(other))
        if job.status == "Pending":
            _compare_times(job, seen.jobs[job_id], seen.now)
    _same("thumbnails", model.thumbnails.keys(), seen.thumbnails.keys())
    for model_id, thumbnail in model.thumbnails.items():
        _same(f"thumbnail of {model_id}", _shown(thumbnail), _shown(seen.thumbnails[model_id]))
    _same("statuses", {model_id: _status(model, model_id) for model_id in seen.statuses}, seen.statuses)
    rest = list(seen.announced)
    for group in announced:
        _same("announcements", Counter(group), Counter(rest[: len(group)]))
        del rest[: len(group)]
    _same("further announcements", [], rest)
    for model_id in {job.request.model_id for job in model.jobs.values()}:
        _compare_numbers(_numbers(model_id, model, seen), known, in_order=in_order)


def adopt(model: QueueState, seen: Observation) -> None:
    """Give the model the times and numbers that the store has chosen."""
    for job_id, job in model.jobs.items():
        other = seen.jobs[job_id]
        job.number, job.rerun, job.lease_seq = other.number, other.rerun, other.lease_seq
        job.run_at = other.run_at if job.status == "Pending" else job.run_at
    for model_id, thumbnail in model.thumbnails.items():
        thumbnail.number = seen.thumbnails[model_id].number
    numbers = [number for job in model.jobs.values() for number in (job.number, job.rerun or 0)]
    model.last_number = max(numbers, default=0)


def _visible(job: Job) -> tuple[object, ...]:
    leased = (job.worker, job.overdue, job.rerun is not None, job.rerun_as) if job.status == "Processing" else ()
    request = (*job.request[:4], job.request.kind, job.request.options)
    return request, job.status, job.attempt, job.lease_seq, job.error_message, *leased


def _shown(thumbnail: Thumbnail) -> tuple[object, ...]:
    return (
        thumbnail.job_id,
        thumbnail.attempt,
        thumbnail.status,
        thumbnail.error_message,
        thumbnail.will_retry,
        thumbnail.path,
    )


def _status(model: QueueState, model_id: int) -> str:
    """What a page is told: the newest request decides, and a failure whose retry waits is shown as one."""
    jobs = [job for job in model.jobs.values() if job.request.model_id == model_id]
    newest = max(jobs, key=lambda job: job.last_number)
    shown = model.thumbnails.get(model_id)
    waits_for_retry = newest.attempt > 0 and shown is not None and shown.number == newest.number
    if newest.status == "Processing" or (newest.status == "Pending" and not waits_for_retry):
        return newest.status
    return shown.status if shown else "None"


def _compare_times(job: Job, other: Job, now: datetime) -> None:
    assert isinstance(other.run_at, datetime)
    if isinstance(job.run_at, datetime):
        _same(f"time of job {job.id}", job.run_at, other.run_at)
    else:
        waits = (other.run_at - now).total_seconds()
        if job.run_at is None or not job.run_at - SLACK < waits <= job.run_at * 1.0:
            raise Refuted(f"job {job.id} is due in {waits} s instead of {job.run_at}")


def _numbers(model_id: int, model: QueueState, seen: Observation) -> Iterator[tuple[int, int]]:
    """Each number of a request for this model as the model has it, and as the store has it."""
    for job_id, job in model.jobs.items():
        if job.request.model_id == model_id:
            yield job.number, seen.jobs[job_id].number
            if job.rerun is not None:
                yield job.rerun, seen.jobs[job_id].rerun or 0
    if model_id in model.thumbnails:
        yield model.thumbnails[model_id].number, seen.thumbnails[model_id].number


def _compare_numbers(pairs: Iterable[tuple[int, int]], known: int, *, in_order: bool) -> None:
    mapping: dict[int, int] = {}
    for number, other in sorted(pairs):
        kept = number == other if number <= known else other > known
        later = not in_order or all(other > earlier for before, earlier in mapping.items() if before < number)
        if not kept or not later or mapping.setdefault(number, other) != other:
            raise Refuted(f"request {other} should be {number}, after {mapping}")
    if len(set(mapping.values())) < len(mapping):
        raise Refuted(f"two requests have one number: {mapping}")


def _same(what: str, expected: object, actual: object) -> None:
    if expected != actual:
        raise Refuted(f"{what}: {actual} instead of {expected}")
