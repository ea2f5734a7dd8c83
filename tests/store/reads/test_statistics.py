"""The queue in figures, whatever the log holds."""

import asyncio
import json
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime

import pytest

from tests.support.postgres.queue_under_test import QueueUnderTest, failure, new_job
from thumbq_server.domain.operations import MinuteActivity
from thumbq_server.domain.records import Counters
from thumbq_server.storage.maintenance import prune_log, recount_jobs
from thumbq_server.storage.postgres.database import Database
from thumbq_server.storage.reads.activity import Activity, since
from thumbq_server.storage.reads.snapshot import take_snapshot
from thumbq_server.storage.reads.statistics import DEPTH, DURATIONS, MOST_KINDS, SAMPLES, read_depth, read_durations
from thumbq_server.storage.statements import Statement
from thumbq_server.storage.transitions.claim import ClaimRequest, claim
from thumbq_server.storage.transitions.release import release_claim
from thumbq_server.storage.transitions.retry import retry


async def complete(queue: QueueUnderTest, *model_ids: int) -> None:
    await queue.complete(*await queue.claimed(*map(new_job, model_ids)))


async def test_only_the_last_five_minutes_of_the_log_count(queue, database):
    for number in range(1, 8):
        await complete(queue, number, number + 100)
    await queue.sql("UPDATE notifications SET created_at = created_at - interval '10 minutes'")
    assert await Activity(database).read() == []
    await complete(queue, 21, 22, 23)
    (token,) = await queue.claimed(new_job(24))
    await queue.fail(failure(token))
    assert await ends(database) == counts(completed=3, failed=1)


async def test_a_second_look_reads_only_what_came_since_the_first(queue, database):
    activity = Activity(database)
    await complete(queue, 1, 2)
    await queue.cancel((await queue.enqueued(new_job(3)))[0])
    assert summed(await activity.read()) == counts(completed=2, cancelled=1)
    # What was read is not looked at again, and counts on.
    await queue.sql("UPDATE notifications SET status = 'Failed' WHERE status = 'Ready'")
    await complete(queue, 4)
    assert summed(await activity.read()) == counts(completed=3, cancelled=1)
    # A restored database has another history, and older numbers.
    await queue.sql("UPDATE queue_head SET epoch = 'restored'")
    assert summed(await activity.read()) == counts(completed=1, failed=2, cancelled=1)


def test_what_was_read_of_a_minute_goes_when_the_minute_does():
    first, second = (datetime(2026, 11, 26, 12, minute, tzinfo=UTC) for minute in (0, 1))
    kept = {first: Counter(Completed=1), second: Counter(Failed=2)}
    assert since(first, kept) == kept
    assert since(second, kept) == {second: Counter(Failed=2)}


def summed(activity: Sequence[MinuteActivity]) -> dict[str, int]:
    """How attempts ended in the last minutes, which may be two."""
    return {name: sum(getattr(row, name) for row in activity) for name in MinuteActivity._fields[1:]}


def counts(**some: int) -> dict[str, int]:
    return dict.fromkeys(MinuteActivity._fields[1:], 0) | some


async def ends(database: Database) -> dict[str, int]:
    """What a server says that looks for the first time."""
    return summed(await Activity(database).read())


async def test_each_end_is_counted_once_under_its_name_whatever_the_models_show(queue, database):
    shown, failed = await queue.claimed(new_job(1), new_job(2))
    await queue.complete(shown)
    await queue.fail(failed)
    assert await ends(database) == counts(completed=1, failed=1)
    # Model 1 goes on showing its picture, and model 2 its failure.
    (held,) = await queue.claimed(new_job(1, file=2))
    for job_id in (held.job_id, failed.job_id, *await queue.enqueued(new_job(3))):
        await queue.cancel(job_id)
    assert await ends(database) == counts(completed=1, failed=1, cancelled=3)
    await queue.expired(*await queue.claimed(new_job(4), new_job(5, max_attempts=1)))
    assert await ends(database) == counts(completed=1, failed=1, expired=2, cancelled=3)
    # Nothing tells of the older requests of a model: they end after the newest.
    *older, newest = await queue.claimed(*(new_job(6, file=file) for file in range(1, 5)))
    await queue.complete(newest)
    await queue.complete(older[0])
    await queue.fail(older[1])
    await queue.expired(older[2])
    assert await ends(database) == counts(completed=3, failed=2, expired=3, cancelled=3)
    (given_back,) = await queue.claimed(new_job(7))
    await queue.release(given_back)
    await claim(queue.lane, ClaimRequest([queue.worker], [30], claim_id=7))
    await release_claim(queue.lane, 7)
    assert await ends(database) == counts(completed=3, failed=2, expired=3, cancelled=3, released=2)


async def test_ends_that_no_figure_needs_any_more_are_forgotten(queue, database):
    await queue.cancel((await queue.enqueued(new_job(1)))[0])
    await queue.sql("UPDATE other_ends SET ended_at = ended_at - interval '6 minutes'")
    assert sum((await ends(database)).values()) == 0
    await prune_log(database, 86_400, 100)
    assert await queue.value("count(*) FROM other_ends") == 1
    await queue.sql("UPDATE other_ends SET ended_at = ended_at - interval '1 hour'")
    await prune_log(database, 86_400, 100)
    assert await queue.value("count(*) FROM other_ends") == 0


async def test_the_wait_of_a_retry_begins_when_the_retry_is_due(queue, database):
    (token,) = await queue.claimed(new_job(1))
    await queue.sql("UPDATE jobs SET due_at = due_at - interval '1 hour'")
    await queue.fail(failure(token, retry_delay=0))
    await queue.complete(*await queue.claim())
    durations = await read_durations(database)
    assert durations.samples == 1
    assert durations.wait is not None
    assert durations.wait.p99 < 3000


async def test_the_wait_of_a_new_life_begins_when_it_is_due(queue, database):
    (token,) = await queue.claimed(new_job(1))
    await queue.fail(failure(token, retryable=False))
    await retry(queue.lane, [token.job_id])
    await queue.sql("UPDATE jobs SET due_at = due_at - interval '1 hour'")
    await queue.complete(*await queue.claim())
    durations = await read_durations(database)
    assert durations.samples == 1
    assert durations.wait is not None
    assert 3500 < durations.wait.p50 < 3700


@pytest.mark.sessions("vacuums by hand, which is no part of a transaction")
async def test_five_hundred_attempts_are_looked_up_with_few_pages(queue, database):
    await complete(queue, *range(1, 1000))
    await database.fetch("VACUUM ANALYZE jobs, attempts, notifications")
    assert (await read_durations(database)).samples == SAMPLES
    assert await pages_read(queue, DURATIONS, SAMPLES) < SAMPLES


async def pages_read(queue: QueueUnderTest, statement: Statement, *arguments: object) -> int:
    (row,) = await queue.lane.fetch(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {statement}", *arguments)
    plan = json.loads(row[0])[0]["Plan"]
    return int(plan["Shared Hit Blocks"]) + int(plan["Shared Read Blocks"])


async def test_the_oldest_due_job_may_be_of_any_kind(queue, database):
    assert (await read_depth(database)).oldest_age is None
    await queue.enqueue(new_job(1, kind="Sound"))
    assert (await read_depth(database)).oldest_age is not None


async def test_a_kind_without_workers_is_not_hidden_by_others_with_many_jobs(queue, database):
    hours_and_counts = {"Audio": (1, 1100), "Sound": (3, 1), "Texture": (2, 200), "Model": (1, 1)}
    for file, (kind, (hours, count)) in enumerate(hours_and_counts.items()):
        jobs = [new_job(model_id, file, kind=kind) for model_id in range(1, count + 1)]
        await queue.make_due(*await queue.enqueued(*jobs), seconds_ago=hours * 3600)
    oldest = (await read_depth(database)).oldest_age
    assert oldest is not None
    assert 3 * 3600 <= oldest < 4 * 3600


async def test_jobs_that_are_not_due_have_no_age_whatever_their_kind(queue, database):
    await queue.enqueue(new_job(1, delay=60), new_job(2, kind="Sound", delay=60), new_job(3, kind="Texture", delay=60))
    assert (await read_depth(database)).oldest_age is None


async def test_the_depth_of_very_many_kinds_costs_no_more_than_that_of_many(queue):
    await queue.enqueue(*[new_job(number, kind=f"K{number}") for number in range(1, 10 * MOST_KINDS)])
    assert await pages_read(queue, DEPTH) < 20 * MOST_KINDS


@pytest.mark.sessions("vacuums by hand, which is no part of a transaction")
async def test_ten_thousand_more_jobs_cost_the_depth_no_page_more(queue, database):
    await queue.enqueued(*map(new_job, range(1, 2000)))
    await database.fetch("VACUUM ANALYZE ready, leases, queue_head")
    before = await pages_read(queue, DEPTH)
    await queue.enqueued(*map(new_job, range(2000, 12_000)))
    await database.fetch("VACUUM ANALYZE ready, leases, queue_head")
    assert await pages_read(queue, DEPTH) <= before + 3
    assert (await read_depth(database)).counters.pending == 11_999


async def test_a_worker_that_is_quiet_counts_while_it_holds_a_job(queue, database):
    (token,) = await queue.claimed(new_job(1))
    await queue.sql("UPDATE workers SET last_seen_at = last_seen_at - interval '2 minutes'")
    assert (await read_depth(database)).workers == 1
    await queue.complete(token)
    assert (await read_depth(database)).workers == 0


async def test_waiting_jobs_are_what_is_left_of_all_jobs(queue, database):
    tokens = await queue.claimed(*map(new_job, range(1, 6)))
    waiting = await queue.enqueued(*map(new_job, range(6, 10)))
    await queue.complete(*tokens[:2])
    await queue.fail(failure(tokens[2]))
    await queue.cancel(waiting[-1])
    assert (await read_depth(database)).counters == Counters(4, 2, 2, 0, 1)
    assert (await take_snapshot(database)).counters == Counters(4, 2, 2, 0, 1)


async def test_jobs_that_were_not_counted_are_counted_once_by_servers_that_notice_it_together(queue, database):
    await queue.enqueued(*map(new_job, range(1, 6)))
    await database.fetch("UPDATE queue_head SET jobs = 2")
    found = await asyncio.gather(*(recount_jobs(database) for _ in range(3)))
    assert sorted(found) == [0, 0, 3]
    assert (await read_depth(database)).counters.pending == 5
