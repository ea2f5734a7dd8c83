"""Enqueueing: new jobs are created, and given to workers that wait; known ones are revived."""

import json
from collections.abc import Mapping, Sequence
from itertools import repeat
from operator import attrgetter

import asyncpg

from thumbq_runtime.process.pieces import pieces
from thumbq_server.domain.columns import NOTHING, Claimed, one_or_all
from thumbq_server.domain.job import MODEL, Enqueued, EnqueueOutcome, NewJob
from thumbq_server.domain.same_job import JobKey, key_of, requests_by_job, several_files, tell_changes
from thumbq_server.storage import traces
from thumbq_server.storage.fragments import NOT_PAUSED, announce, columns, put_in_queue, rank
from thumbq_server.storage.long_columns import as_numbers, hash_at, of_all
from thumbq_server.storage.postgres.hints import JOBS, LOG
from thumbq_server.storage.postgres.lane import Lane
from thumbq_server.storage.statements import Statement
from thumbq_server.storage.transitions.claim import NO_CLAIM, NO_OPTIONS, ClaimRequest
from thumbq_server.storage.transitions.order import put_in_order
from thumbq_server.storage.transitions.revive import revive, stored_kind

_traceparent = attrgetter("traceparent")
_key, _order = attrgetter("model_id", "model_hash"), attrgetter("model_id", "model_hash", "delay")
# The ids of the jobs that are new, and those jobs of them that workers have now.
_Created = tuple[dict[JobKey, int], Claimed]

_PARAMETERS = (
    "model_ids text, model_hashes bytea, priorities smallint[], max_attempts smallint[],"
    " delays double precision[], kinds text[], options text[]"
)

# Only new jobs are inserted here. Finding known jobs in the same statement made it four times slower, and a join back
# to the input is a loop in a loop, since the planner expects one row of each step.
_CREATED = f"""created AS (
        INSERT INTO jobs (model_id, model_hash, priority, max_attempts, due_at, kind, options)
        SELECT model_id, {hash_at("$2", "place")},
               {of_all("priority", "$3", "smallint")}, {of_all("max_attempts", "$4", "smallint")},
               now() + {of_all("delay", "$5", "float8")} * interval '1 second', kind, options
          FROM unnest($1::text::bigint[], $3::smallint[], $4::smallint[], $5::float8[], $6::text[], $7::text[])
          WITH ORDINALITY AS i (model_id, priority, max_attempts, delay, kind, options, place)
        ON CONFLICT (model_id, model_hash) DO NOTHING
        RETURNING id AS job_id, model_id, model_hash, priority, max_attempts, created_at, due_at, kind, options,
                  0 AS attempt
    )"""

_COUNTED = {"jobs": "count(*)"}

CREATE = Statement(
    "enqueue",
    _PARAMETERS,
    f"""
    WITH {_CREATED}, queued AS ({put_in_queue("created", "due_at")}
    ), {announce("Pending", "created", moves=_COUNTED)}
    SELECT array_agg(job_id) AS job_ids, array_agg(model_id) AS model_ids, array_agg(model_hash) AS model_hashes
      FROM created
    """,
)

# The same with the traces of jobs, by model and hash. An object is searched quickly, where a join back would be a loop.
CREATE_TRACED = Statement(
    "enqueue_traced",
    f"{_PARAMETERS}, traceparents jsonb",
    f"""
    WITH {_CREATED}, traced AS (
        INSERT INTO job_traces (job_id, traceparent)
        SELECT * FROM (
            SELECT job_id, $8::jsonb ->> (model_id || '-' || encode(model_hash, 'hex')) AS traceparent FROM created) t
         WHERE traceparent IS NOT NULL
    ), queued AS ({put_in_queue("created", "due_at")}
    ), {announce("Pending", "created", moves=_COUNTED)}
    SELECT array_agg(job_id) AS job_ids, array_agg(model_id) AS model_ids, array_agg(model_hash) AS model_hashes
      FROM created
    """,
)

# Workers wait: each credit takes a job at once, and the rest goes into the queue.
CREATE_AND_CLAIM = Statement(
    "enqueue_and_claim",
    f"{_PARAMETERS}, sessions bigint[], lease_seconds integer[], claim_id bigint",
    f"""
    WITH {_CREATED}, ranked AS (
        SELECT *, {rank("due_at", "priority")} AS rank, due_at <= now() AND kind IS NULL AND {NOT_PAUSED} AS is_due
          FROM created
    ), numbered AS MATERIALIZED (
        SELECT *, (row_number() OVER (ORDER BY is_due DESC, rank, job_id))::int AS position FROM ranked
    ), number AS MATERIALIZED (
        SELECT nextval('claim_seq') AS lease_seq WHERE EXISTS (SELECT FROM numbered WHERE is_due)
    ), leased AS (
        INSERT INTO leases (job_id, lease_seq, model_id, session, claimed_at, expires_at, claim_id, attempt)
        SELECT job_id, (SELECT lease_seq FROM number), model_id, ($8::bigint[])[position], now(),
               now() + ($9::int[])[position] * interval '1 second', $10, 1
          FROM numbered WHERE is_due AND position <= cardinality($8)
    ), queued AS ({put_in_queue("numbered", "due_at", where="WHERE NOT (is_due AND position <= cardinality($8))")}
    ), {announce("Pending", "created", moves=_COUNTED)}
    SELECT now() AS claimed_at, (SELECT lease_seq FROM number) AS lease_seq,
           count(*) FILTER (WHERE is_due) AS due, array_agg(job_id) AS job_ids,
           array_agg(model_id) AS model_ids, array_agg(model_hash) AS model_hashes, array_agg(priority) AS priorities,
           array_agg(max_attempts) AS max_attempts,
           array_agg(job_id) FILTER (WHERE options IS NOT NULL) AS with_options,
           array_agg(options) FILTER (WHERE options IS NOT NULL) AS options
      FROM (SELECT * FROM numbered ORDER BY position) n
    """,
)

# The same for a single job, with or without a worker that waits: without arrays and windows it costs much less.
CREATE_ONE = Statement(
    "enqueue_one",
    "model_id bigint, model_hash bytea, priority smallint, max_attempts smallint, delay double precision,"
    " kind text, options text, session bigint, lease_seconds integer, claim_id bigint",
    f"""
    WITH created AS (
        INSERT INTO jobs (model_id, model_hash, priority, max_attempts, due_at, kind, options)
        VALUES ($1::bigint, $2::bytea, $3::smallint, $4::smallint, now() + $5::float8 * interval '1 second', $6::text,
                $7::text)
        ON CONFLICT (model_id, model_hash) DO NOTHING
        RETURNING id AS job_id, model_id, model_hash, priority, max_attempts, due_at, created_at, kind, options,
                  $8::bigint IS NOT NULL AND due_at <= now() AND kind IS NULL AND {NOT_PAUSED} AS is_taken
    ), leased AS (
        INSERT INTO leases (job_id, lease_seq, model_id, session, claimed_at, expires_at, claim_id, attempt)
        SELECT job_id, nextval('claim_seq'), $1, $8, now(), now() + $9::int * interval '1 second', $10::bigint, 1
          FROM created WHERE is_taken
        RETURNING lease_seq
    ), queued AS ({put_in_queue("created", "due_at", where="WHERE NOT is_taken")}
    ), head AS (
        UPDATE queue_head SET seq = seq + 1, jobs = jobs + 1 WHERE EXISTS (SELECT FROM created) RETURNING seq
    ), logged AS (
        INSERT INTO notifications (seq_last, seq_first, status, model_ids, job_ids, attempt_counts)
        SELECT seq, seq, 'Pending', ARRAY[$1], ARRAY[job_id], ARRAY[0::smallint] FROM head, created
    )
    SELECT job_id, now() AS claimed_at, (SELECT lease_seq FROM leased) AS lease_seq FROM created
    """,
)


async def enqueue(lane: Lane, jobs: Sequence[NewJob]) -> list[Enqueued]:
    """Enqueue all of `jobs`; the answers are in their order. Asking twice finds the same job."""
    answers, _ = await enqueue_and_claim(lane, jobs, NO_CLAIM)
    return answers


async def enqueue_and_claim(
    lane: Lane, jobs: Sequence[NewJob], request: ClaimRequest, *, are_traces: bool = False
) -> tuple[list[Enqueued], Claimed]:
    """Enqueue all of `jobs`, and claim those that are new and due, as far as the credits of `request` go.

    The claimed jobs never enter the queue, so use it only while nothing in there is due. Of several files of one model,
    each is a newer request than those that are named before it. `are_traces`: known jobs may have traces of requests
    before these.
    """
    answers, claimed = await _enqueue_and_claim(lane, jobs, request, are_traces)
    # The statements number requests in the order of their locks, not in that of `jobs`.
    if files := several_files(jobs):
        await put_in_order(lane, files)
    return answers, claimed


async def _enqueue_and_claim(
    lane: Lane, jobs: Sequence[NewJob], request: ClaimRequest, are_traces: bool
) -> tuple[list[Enqueued], Claimed]:
    # Concurrent batches lock in one order, or they deadlock. Of several requests for one job, the most urgent decides.
    batch = sorted(jobs, key=_order)
    is_traced = any(map(_traceparent, batch))
    create = _create_one if len(batch) == 1 else _create_and_claim if request.sessions else _create
    if is_traced:
        create = _create_traced
    history = lane.history.version
    created, claimed = await create(lane, batch, request)
    if claimed:
        lane.history.has_claimed(claimed.lease_seq, history)
    if created:
        lane.history.has_created(max(created.values()), history)
        lane.hints.tell(JOBS if len(created) > len(claimed) else LOG)
    if len(created) == len(batch):
        job_ids = map(created.__getitem__, map(_key, jobs))
        return list(map(Enqueued._make, zip(job_ids, repeat(EnqueueOutcome.CREATED), strict=False))), claimed
    if is_traced or are_traces:
        # Before they are due again.
        await traces.renew(lane, [job for job in batch if key_of(job) not in created])
    first, later = requests_by_job(batch, jobs)
    missing = {key: job for key, job in first.items() if key not in created}
    known = await revive(lane, missing) if missing else {}
    if gone := [job for key, job in missing.items() if key not in known]:
        known |= zip(map(key_of, gone), await enqueue(lane, gone), strict=True)
    changed = await revive(lane, later, renewing=False) if later else {}
    answers = await _answers(jobs, created, known)
    if changed:
        tell_changes(answers, jobs, later, changed)
    return answers, claimed


async def _answers(
    jobs: Sequence[NewJob], created: Mapping[JobKey, int], known: dict[JobKey, Enqueued]
) -> list[Enqueued]:
    """Return what became of each job. A job that is asked for twice is there already the second time."""
    answers: list[Enqueued] = []
    async for piece in pieces(jobs):
        for job in piece:
            key = key_of(job)
            answer = known.get(key) or Enqueued(created[key], EnqueueOutcome.CREATED)
            answers.append(answer)
            known[key] = Enqueued(answer.job_id, EnqueueOutcome.EXISTING)
    return answers


async def _create_one(lane: Lane, batch: Sequence[NewJob], request: ClaimRequest) -> _Created:
    (job,) = batch
    session, lease_seconds = (request.sessions[0], request.lease_seconds[0]) if request.sessions else (None, None)
    rows = await lane.fetch(
        CREATE_ONE, *_row(job), stored_kind(job.kind), job.options, session, lease_seconds, request.claim_id
    )
    if not rows:
        return {}, NOTHING
    ((job_id, claimed_at, lease_seq),) = rows
    if not lease_seq:
        return {key_of(job): job_id}, NOTHING
    options = {job_id: job.options} if job.options else NO_OPTIONS
    return {key_of(job): job_id}, request.claimed(
        claimed_at,
        lease_seq,
        job_ids=(job_id,),
        model_ids=(job.model_id,),
        model_hashes=(job.model_hash,),
        priorities=(job.priority,),
        max_attempts=(job.max_attempts,),
        options=options,
    )


async def _create(lane: Lane, batch: Sequence[NewJob], _: ClaimRequest) -> _Created:
    (row,) = await lane.fetch(CREATE, *_columns(batch))
    return _ids(row), NOTHING


async def _create_traced(lane: Lane, batch: Sequence[NewJob], _: ClaimRequest) -> _Created:
    by_key = {f"{job.model_id}-{job.model_hash.hex()}": job.traceparent for job in batch if job.traceparent}
    (row,) = await lane.fetch(CREATE_TRACED, *_columns(batch), json.dumps(by_key))
    return _ids(row), NOTHING


async def _create_and_claim(lane: Lane, batch: Sequence[NewJob], request: ClaimRequest) -> _Created:
    (row,) = await lane.fetch(CREATE_AND_CLAIM, *_columns(batch), *request)
    if not row["due"]:
        return _ids(row), NOTHING
    options = dict(zip(row["with_options"], row["options"], strict=True)) if row["options"] else NO_OPTIONS
    return _ids(row), request.claimed(
        row["claimed_at"],
        row["lease_seq"],
        job_ids=row["job_ids"][: row["due"]],
        model_ids=row["model_ids"],
        model_hashes=row["model_hashes"],
        priorities=row["priorities"],
        max_attempts=row["max_attempts"],
        options=options,
    )


def _ids(row: asyncpg.Record) -> dict[JobKey, int]:
    if not row["job_ids"]:
        return {}
    return dict(zip(zip(row["model_ids"], row["model_hashes"], strict=True), row["job_ids"], strict=True))


def _columns(batch: Sequence[NewJob]) -> list[Sequence[object] | None]:
    """Return the parameters of a batch. Where no job has a kind or options, NULL stands for the whole column."""
    model_ids, model_hashes, priorities, max_attempts, _, delays, kinds, options, *_ = columns(batch, 10)
    stored_kinds = None if kinds.count(MODEL) == len(kinds) else list(map(stored_kind, kinds))
    return [
        as_numbers(model_ids),
        b"".join(model_hashes),
        *map(one_or_all, (priorities, max_attempts, delays)),
        stored_kinds,
        options if any(options) else None,
    ]


def _row(job: NewJob) -> tuple[int, bytes, int, int, float]:
    return job.model_id, job.model_hash, job.priority, job.max_attempts, job.delay
