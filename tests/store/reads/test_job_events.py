"""The log of each job, and the leases that its lines extend."""

from datetime import datetime

from tests.support.conditions import at_once
from tests.support.postgres.queue_under_test import QueueUnderTest, new_job
from thumbq_server.domain.job import Token
from thumbq_server.domain.job_events import MOST_KEPT, LivingWorker, NewJobEvent
from thumbq_server.storage import job_events, workers
from thumbq_server.storage.transitions.claim import ClaimRequest, claim

LEASE = 600.0


def line(job_id: int, message: str = "Model loaded") -> NewJobEvent:
    return NewJobEvent(job_id, "ModelLoaded", message, '{"triangles": 12}', None)


async def write(queue: QueueUnderTest, *job_ids: int) -> list[int | None]:
    return await job_events.log(queue.lane, [line(job_id) for job_id in job_ids], LEASE)


async def write_without_key(queue: QueueUnderTest, *job_ids: int) -> list[int | None]:
    lines = [line(job_id, "of a stranger") for job_id in job_ids]
    return await job_events.log(queue.lane, lines, LEASE, with_key=False)


async def claimed_in_turn(
    queue: QueueUnderTest, count: int, worker_id: str = "json-worker", *, first_model: int = 1
) -> list[Token]:
    """Jobs that a worker of unary calls has claimed one after the other."""
    session = await workers.register(queue.database, worker_id)
    await queue.enqueue(*[new_job(first_model + number) for number in range(count)])
    return [(await claim(queue.lane, ClaimRequest([session], [30])))[0].token for _ in range(count)]


async def end_of(queue: QueueUnderTest, token: Token) -> datetime:
    end = (await queue.job(token.job_id)).lease_expires_at
    assert end is not None
    return end


async def is_extended(queue: QueueUnderTest, token: Token) -> bool:
    """Whether a lease of 30 s has become one of 600 s."""
    left: float = (await end_of(queue, token) - await queue.value("now()")).total_seconds()
    return left > 500


async def test_lines_are_kept_with_their_job_in_order(queue):
    first, second = await queue.enqueued(new_job(1), new_job(2))
    ids = await job_events.log(queue.lane, [line(first, "a"), line(second, "b"), line(first, "c")], LEASE)
    kept = await job_events.list_events(queue.database, first)
    assert [(event.id, event.message) for event in kept] == [(ids[0], "a"), (ids[2], "c")]
    assert kept[0][2:] == ("ModelLoaded", "a", '{"triangles": 12}', None)


async def test_a_line_on_an_unknown_job_is_not_kept_and_spoils_no_other(queue):
    (job_id,) = await queue.enqueued(new_job(1))
    missing, kept = await write(queue, 999, job_id)
    assert missing is None
    assert kept is not None
    assert await job_events.list_events(queue.database, 999) == []


async def test_of_a_job_the_newest_lines_are_kept(queue):
    (job_id,) = await queue.enqueued(new_job(1))
    ids = await write(queue, *[job_id] * (MOST_KEPT + 50))
    ids += await write(queue, job_id)
    assert [event.id for event in await job_events.list_events(queue.database, job_id)] == ids[-MOST_KEPT:]
    ids += await write(queue, job_id)
    assert await queue.value("count(*) FROM job_events") <= MOST_KEPT + 1


async def test_lines_without_a_key_take_no_place_of_those_with_one(queue):
    (job_id,) = await queue.enqueued(new_job(1))
    (first,) = await write(queue, job_id)
    for _ in range(2):
        await write_without_key(queue, *[job_id] * (MOST_KEPT + 10))
    (last,) = await write(queue, job_id)
    kept = [event.id for event in await job_events.list_events(queue.database, job_id)]
    assert (kept[0], kept[-1], len(kept)) == (first, last, MOST_KEPT + 2)
    assert await queue.value("count(*) FROM job_events") <= 2 + 2 * (MOST_KEPT + 10)


async def test_twenty_at_once_all_have_their_line(queue, lanes):
    (job_id,) = await queue.enqueued(new_job(1))
    written = await at_once(*[job_events.log(lane, [line(job_id)], LEASE) for lane in lanes])
    assert len({event_id for (event_id,) in written}) == len(lanes)


async def test_a_line_extends_the_lease_of_its_job_and_of_what_its_worker_claimed_later(queue):
    before, told, after = await claimed_in_turn(queue, 3)
    await write(queue, told.job_id)
    assert [await is_extended(queue, token) for token in (before, told, after)] == [False, True, True]


async def test_a_line_leaves_the_leases_of_others_alone(queue):
    streaming = await workers.register(queue.database, "json-worker", "a session")
    await queue.enqueue(new_job(100))
    streamed = (await claim(queue.lane, ClaimRequest([streaming], [30])))[0].token
    (foreign,) = await claimed_in_turn(queue, 1, "another", first_model=50)
    (told,) = await claimed_in_turn(queue, 1)
    await write(queue, told.job_id, streamed.job_id)
    assert [await is_extended(queue, token) for token in (told, foreign, streamed)] == [True, False, False]


async def test_a_line_without_a_key_keeps_all_that_a_worker_claimed_later_while_it_asks_for_jobs(queue):
    before, told, after = await claimed_in_turn(queue, 3)
    await write_without_key(queue, told.job_id)
    assert [await is_extended(queue, token) for token in (before, told, after)] == [False, True, True]


async def test_a_line_without_a_key_keeps_its_own_job_for_ten_minutes_from_the_claim(queue):
    before, told, after = await claimed_in_turn(queue, 3)
    await queue.sql("UPDATE workers SET last_seen_at = now() - interval '11 minutes'")
    await queue.sql("UPDATE leases SET claimed_at = claimed_at - interval '5 minutes'")
    ends = [await end_of(queue, token) for token in (before, after)]
    for _ in range(2):
        await write_without_key(queue, told.job_id)
    kept = await queue.value("expires_at - claimed_at FROM leases WHERE job_id = $1", told.job_id)
    assert kept.total_seconds() == LEASE
    assert [await end_of(queue, token) for token in (before, after)] == ends


async def test_a_lease_ends_two_hours_after_the_claim_whatever_is_told(queue):
    (told,) = await claimed_in_turn(queue, 1)
    await queue.sql("UPDATE leases SET claimed_at = now() - interval '119 minutes'")
    await write(queue, told.job_id)
    left = (await end_of(queue, told) - await queue.value("now()")).total_seconds()
    assert 50 < left < 60


async def test_a_line_on_an_ended_job_changes_nothing_but_its_log(queue):
    (token,) = await queue.claimed(new_job(1))
    await queue.complete(token)
    before = await queue.tables()
    await write(queue, token.job_id)
    after = await queue.tables()
    assert len(after.pop("job_events")) == 1
    before.pop("job_events")
    assert after == before


async def test_a_worker_keeps_what_it_claimed_on_its_connection_and_nothing_older(queue):
    older, newer = await claimed_in_turn(queue, 2)
    await queue.sql("UPDATE leases SET claimed_at = now() - interval '60s' WHERE job_id = $1", older.job_id)
    await job_events.keep(queue.lane, [LivingWorker("json-worker", 30.0), LivingWorker("nobody", 30.0)], LEASE)
    assert [await is_extended(queue, token) for token in (older, newer)] == [False, True]
