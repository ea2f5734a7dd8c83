"""Reading: one job, pages of jobs, workers, and the queue as a whole."""

import pytest

from tests.support.postgres.queue_under_test import STATES, failure, new_job
from thumbq_server.domain.job import ENDED, LIVE, JobStatus
from thumbq_server.storage import workers
from thumbq_server.storage.reads.jobs import list_jobs, read_job
from thumbq_server.storage.reads.leases import held_leases
from thumbq_server.storage.reads.snapshot import take_snapshot

EVERYTHING = 2**62
STATUS = {"Waiting": "Pending"}


async def ids_of_page(queue, status, *, model_id=0, below=EVERYTHING, limit=100):
    return [row.id for row in await list_jobs(queue.database, status, model_id, below, limit)]


async def test_an_unknown_job_has_no_record(queue):
    assert await read_job(queue.database, 999_999_999) is None


@pytest.mark.parametrize("state", STATES)
async def test_a_job_reads_alike_alone_and_on_every_page_that_it_belongs_to(queue, state):
    token = await queue.job_in(state, new_job(7))
    alone = await queue.job(token.job_id)
    assert alone.status == STATUS.get(state, state)
    for status in (None, *LIVE, *ENDED):
        page = await list_jobs(queue.database, status, 0, EVERYTHING, 10)
        assert page == ([alone] if status in {None, alone.status} else [])


async def test_pages_go_from_the_newest_job_to_the_oldest_without_overlap(queue):
    ids = await queue.enqueued(*[new_job(model) for model in range(1, 8)])
    newest_first = sorted(ids, reverse=True)
    for status in (None, JobStatus.PENDING):
        pages, below = [], EVERYTHING
        while page := await ids_of_page(queue, status, below=below, limit=3):
            pages.append(page)
            below = page[-1]
        assert pages == [newest_first[:3], newest_first[3:6], newest_first[6:]]


@pytest.mark.parametrize("status", [JobStatus.PROCESSING, *ENDED])
async def test_each_status_has_pages_of_its_own(queue, status):
    tokens = [await queue.job_in(status, new_job(model)) for model in range(1, 6)]
    await queue.job_in("Pending", new_job(6))
    newest_first = sorted((token.job_id for token in tokens), reverse=True)
    assert await ids_of_page(queue, status, limit=3) == newest_first[:3]
    assert await ids_of_page(queue, status, below=newest_first[2]) == newest_first[3:]


async def test_a_page_can_be_of_one_model(queue):
    first, second = await queue.enqueued(new_job(7, file=1), new_job(7, file=2))
    await queue.enqueue(new_job(8))
    for status in (None, JobStatus.PENDING):
        assert await ids_of_page(queue, status, model_id=7) == [second, first]
    assert await ids_of_page(queue, None, model_id=9) == []
    await queue.complete(*await queue.claim())
    assert await ids_of_page(queue, JobStatus.COMPLETED, model_id=7) == [first]
    assert await ids_of_page(queue, JobStatus.COMPLETED, model_id=8) == []


async def test_a_snapshot_counts_every_job_once(queue):
    for model, state in enumerate(STATES, 1):
        await queue.job_in(state, new_job(model))
    counts, _, taken_at = await take_snapshot(queue.database)
    assert counts._asdict() == {
        "pending": 2,
        "processing": 1,
        "completed": 1,
        "failed": 1,
        "cancelled": 1,
    }
    assert taken_at <= await queue.value("now()")


async def test_a_snapshot_names_what_is_being_rendered_and_by_whom(queue):
    (token,) = await queue.claimed(new_job(7))
    rendering = (await take_snapshot(queue.database)).rendering
    job = await queue.job(token.job_id)
    assert [row._asdict() for row in rendering] == [
        {
            "model_id": 7,
            "job_id": token.job_id,
            "worker_id": "worker-1",
            "attempt": 1,
            "claimed_at": job.updated_at,
        }
    ]
    await queue.fail(failure(token, retryable=False))
    assert (await take_snapshot(queue.database)).rendering == []


async def test_a_snapshot_names_no_more_than_a_hundred(queue):
    await queue.claimed(*[new_job(model) for model in range(1, 121)])
    counts, rendering, _ = await take_snapshot(queue.database)
    assert (counts.processing, len(rendering)) == (120, 100)


async def test_a_worker_keeps_its_number_and_each_of_its_sessions_has_one(queue):
    first = await workers.register(queue.database, "gpu-1", "monday", "1.0", {"gpu": "yes"})
    assert await workers.register(queue.database, "gpu-1", "monday", "1.1", {"gpu": "no"}) == first
    assert await workers.register(queue.database, "gpu-1", "tuesday") != first
    assert await workers.register(queue.database, "gpu-1") != first
    (row,) = await queue.sql("SELECT * FROM workers WHERE id = $1", first)
    assert (row["version"], row["labels"]) == ("1.1", '{"gpu": "no"}')
    assert row["last_seen_at"] > row["first_seen_at"]


async def test_a_heartbeat_is_a_sign_of_life(queue):
    other = await workers.register(queue.database, "other")
    seen = "last_seen_at FROM workers WHERE id = $1"
    before = [await queue.value(seen, number) for number in (queue.worker, other)]
    await workers.record(queue.database, queue.database.history.version, {queue.worker})
    after = [await queue.value(seen, number) for number in (queue.worker, other)]
    assert after[0] > before[0]
    assert after[1] == before[1]


async def test_a_worker_holds_the_leases_it_claimed_until_they_end(queue):
    other = await workers.register(queue.database, "other")
    tokens = await queue.claimed(new_job(1), new_job(2), new_job(3))
    assert await held_leases(queue.database, queue.worker) == tokens
    assert await held_leases(queue.database, other) == []
    await queue.complete(tokens[1])
    assert await held_leases(queue.database, queue.worker) == [tokens[0], tokens[2]]
