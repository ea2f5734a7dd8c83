"""The store under test: each verb with its usual arguments, and a look into every table."""

from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import groupby
from typing import Any, NamedTuple

import asyncpg

from thumbq_server.domain.columns import Claimed, Completions
from thumbq_server.domain.job import (
    MODEL,
    CancelVerdict,
    Completion,
    Enqueued,
    Failure,
    JobStatus,
    NewJob,
    Token,
    Verdict,
)
from thumbq_server.domain.records import CommitRecord, Expired, JobRecord, ThumbnailRecord
from thumbq_server.domain.retry import RetryPolicy, delays
from thumbq_server.storage import notification_log
from thumbq_server.storage.postgres.database import Database
from thumbq_server.storage.postgres.lane import Lane
from thumbq_server.storage.reads.jobs import read_job
from thumbq_server.storage.reads.thumbnails import read_thumbnail
from thumbq_server.storage.statements import Statement
from thumbq_server.storage.transitions.cancel import cancel
from thumbq_server.storage.transitions.claim import ClaimRequest, claim
from thumbq_server.storage.transitions.complete import complete
from thumbq_server.storage.transitions.enqueue import enqueue
from thumbq_server.storage.transitions.extend import extend
from thumbq_server.storage.transitions.fail import expire, fail
from thumbq_server.storage.transitions.release import release

DELAYS = delays(RetryPolicy())
# the number of a lease that no worker has
UNCLAIMED = 2**50
TABLES = (
    *("jobs", "ready", "leases", "attempts", "workers", "job_events", "model_versions"),
    *("notifications", "queue_head", "queue_pause", "removals", "keys", "signing_keys", "audit", "job_progress"),
    *("job_traces", "other_ends"),
)
# every place that a job can be in; "Waiting" is Pending after a failed attempt
STATES = ("Waiting", "Processing", "Completed", "Failed", "Cancelled", "Pending")


async def empty(database: Database, *, keep_workers: bool = False) -> None:
    """Take everything out of the queue, which costs a hundredth of a fresh database."""
    emptied = [name for name in TABLES if name != "queue_head" and not (keep_workers and name == "workers")]
    counts = "seq = 0, jobs = 0, completed = 0, failed = 0, cancelled = 0"

    async def renew(connection: asyncpg.Connection) -> None:
        # A test may have begun another history. A connection of a later test would find it in the middle of its work.
        same_history = f"UPDATE queue_head SET epoch = '{database.history.epoch}', {counts}"
        await connection.execute("; ".join([*(f"DELETE FROM {name}" for name in emptied), same_history]))

    await database.run(renew)
    database.history._known = None  # The log has gone back to its start.


class Event(NamedTuple):
    """One notification, as a subscriber sees it; its seq is checked by `assert_sound`."""

    status: str
    model_id: int
    job_id: int
    attempt_count: int = 0
    error_message: str | None = None
    next_attempt_at: datetime | None = None
    test: bool = False
    thumbnail_url: str | None = None


def model_file(number: int) -> bytes:
    """The hash of one of a model's files."""
    return number.to_bytes(32, "big")


def new_job(
    model_id: int,
    file: int = 1,
    *,
    priority: int = 0,
    max_attempts: int = 3,
    force: bool = False,
    delay: float = 0.0,
    kind: str = MODEL,
    options: str | None = None,
    options_matter: bool = False,
) -> NewJob:
    """A request for the thumbnail of one of a model's files."""
    return NewJob(model_id, model_file(file), priority, max_attempts, force, delay, kind, options, options_matter)


def picture(token: Token, path: str = "") -> Completion:
    """A picture for a lease, by default at a path of its own."""
    return Completion(*token, path or f"/thumbnails/{token.job_id}-{token.lease_seq}.webp", 1234, 512, 256)


def in_columns(items: Iterable[Completion]) -> list[Completions]:
    """The same pictures as columns, a group for each run of one lease_seq."""
    runs = (list(run) for _, run in groupby(items, key=lambda item: item.lease_seq))
    columns = (list(zip(*run, strict=True)) for run in runs)
    return [Completions(lease_seqs[0], job_ids, *pictures) for job_ids, lease_seqs, *pictures in columns]


def failure(
    token: Token, message: str = "boom", *, retryable: bool = True, retry_delay: float | None = None
) -> Failure:
    """A failed attempt."""
    return Failure(*token, message, retryable, retry_delay)


def untold(token: Token) -> Token:
    """The token that stands for a caller who does not know one."""
    return token._replace(lease_seq=0)


def events(rows: Sequence[CommitRecord]) -> list[Event]:
    """The notifications in these commits, one by one."""
    unpacked = []
    for row in rows:
        nothing = [None] * len(row.model_ids)
        columns = (
            row.model_ids,
            row.job_ids,
            row.attempt_counts,
            row.error_messages or nothing,
            row.next_attempt_ats or nothing,
        )
        unpacked += [Event(row.status, *fields, row.test, row.thumbnail_url) for fields in zip(*columns, strict=True)]
    return unpacked


@dataclass
class QueueUnderTest:
    """One lane, one worker, and where the test has read the log up to."""

    database: Database
    lane: Lane
    worker: int
    cursor: int = 0

    def on(self, lane: Lane) -> "QueueUnderTest":
        """The same queue through another connection."""
        return replace(self, lane=lane)

    async def enqueue(self, *requests: NewJob) -> list[Enqueued]:
        return await enqueue(self.lane, requests)

    async def enqueued(self, *requests: NewJob) -> list[int]:
        """The ids of these jobs, now enqueued."""
        return [answer.job_id for answer in await self.enqueue(*requests)]

    async def claim(self, count: int = 1, *, seconds: int = 30) -> list[Token]:
        claimed = await claim(self.lane, ClaimRequest([self.worker] * count, [seconds] * count))
        return [job.token for job in claimed]

    async def claim_of(self, *kinds: str, count: int = 10) -> Claimed:
        """Claim as a worker of these kinds does."""
        return await claim(self.lane, ClaimRequest([self.worker] * count, [30] * count), kinds)

    async def claimed(self, *requests: NewJob) -> list[Token]:
        """The leases of these jobs, now enqueued and claimed, in the order of the arguments."""
        ids = await self.enqueued(*requests)
        tokens = {token.job_id: token for token in await self.claim(len(ids))}
        return [tokens[job_id] for job_id in ids]

    async def complete(self, *reports: Token | Completion) -> list[Verdict]:
        items = [picture(report) if isinstance(report, Token) else report for report in reports]
        return [verdict for verdict, _ in await complete(self.lane, items)]

    async def fail(self, *reports: Token | Failure) -> list[Verdict]:
        items = [failure(report) if isinstance(report, Token) else report for report in reports]
        answers = await fail(self.lane, items, DELAYS, [1.0] * len(items))
        return [verdict for verdict, _, _ in answers]

    async def release(self, *tokens: Token) -> list[Verdict]:
        return await release(self.lane, tokens)

    async def extend(self, *tokens: Token, seconds: float = 60) -> list[Verdict]:
        answers = await extend(self.lane, [(token, seconds) for token in tokens])
        return [verdict for verdict, _ in answers]

    async def expire(self, limit: int = 100) -> list[Expired]:
        return await expire(self.lane, limit, DELAYS, 1.0)

    async def let_run_out(self, *tokens: Token) -> None:
        """Let the leases end in the past."""
        ids = [token.job_id for token in tokens]
        await self.sql("UPDATE leases SET expires_at = now() - interval '1s' WHERE job_id = ANY($1)", ids)

    async def expired(self, *tokens: Token) -> None:
        """Let the leases run out, and end them."""
        await self.let_run_out(*tokens)
        assert len(await self.expire()) == len(tokens)

    async def make_due(self, *job_ids: int, seconds_ago: float = 0) -> None:
        """Make jobs due, `seconds_ago` seconds ago."""
        place = "now() - make_interval(secs => $2) - priority * interval '60s'"
        await self.sql(
            f"""
            WITH due AS (
                UPDATE ready SET run_at = now() - make_interval(secs => $2),
                       rank = CASE WHEN kind IS NULL THEN {place} ELSE 'infinity' END,
                       kind_rank = CASE WHEN kind IS NOT NULL THEN {place} END
                 WHERE job_id = ANY ($1) RETURNING job_id, run_at
            ), first_attempts AS (
                UPDATE jobs SET due_at = run_at FROM due WHERE id = job_id
            )
            UPDATE attempts a SET next_attempt_at = run_at
              FROM due WHERE a.job_id = due.job_id AND next_attempt_at IS NOT NULL
            """,
            job_ids,
            seconds_ago,
        )

    async def job_in(self, state: str, request: NewJob) -> Token:
        """A job that is in one of STATES, with the last lease it had (or, if it had none, would have)."""
        if state in {"Pending", "Cancelled"}:
            [job_id] = await self.enqueued(request)
            token = Token(job_id, UNCLAIMED)
        else:
            (token,) = await self.claimed(request)
        if state == "Waiting":
            await self.fail(token)
        if state == "Failed":
            await self.fail(failure(token, retryable=False))
        if state == "Completed":
            await self.complete(token)
        if state == "Cancelled":
            await self.cancel(token.job_id)
        return token

    async def cancel(self, job_id: int) -> None:
        assert [answer.verdict for answer in await cancel(self.lane, [job_id])] == [CancelVerdict.CANCELLED]

    async def job(self, job_id: int) -> JobRecord:
        row = await read_job(self.database, job_id)
        assert row is not None
        return row

    async def status(self, job_id: int) -> JobStatus:
        return (await self.job(job_id)).status

    async def thumbnail(self, model_id: int) -> ThumbnailRecord:
        return await read_thumbnail(self.database, model_id)

    async def news(self) -> list[Event]:
        """Return the notifications since the last look."""
        rows = await notification_log.after(self.database, self.cursor, 100_000)
        self.cursor = (await notification_log.head(self.database))[1]
        return events(rows)

    async def sql(self, statement: Statement | str, *arguments: object) -> list[asyncpg.Record]:
        return await self.database.fetch(statement, *arguments)

    async def value(self, expression: str, *arguments: object) -> Any:
        return (await self.sql(f"SELECT {expression}", *arguments))[0][0]

    async def tables(self) -> dict[str, list[dict[str, Any]]]:
        """Every row of every table."""
        return {table: [dict(row) for row in await self.sql(f"SELECT * FROM {table} t ORDER BY t")] for table in TABLES}

    @asynccontextmanager
    async def unchanged(self) -> AsyncIterator[None]:
        """Assert that the block leaves every row of every table as it was."""
        before = await self.tables()
        yield
        assert await self.tables() == before
