"""A model is forgotten: its jobs, their history and its pictures go in one commit, whatever else happens to them."""

import asyncio

import pytest

from tests.support.conditions import locked, until_blocked
from tests.support.postgres.invariants import assert_sound
from tests.support.postgres.queue_under_test import STATES, Event, new_job, picture
from thumbq_server.domain.job import EnqueueOutcome, ThumbnailStatus, Verdict
from thumbq_server.domain.job_events import NewJobEvent
from thumbq_server.domain.model_versions import NewVersion
from thumbq_server.storage import job_events, model_versions
from thumbq_server.storage.transitions.forget import forget


async def removals(queue) -> list[str]:
    return [row["path"] for row in await queue.sql("SELECT path FROM removals ORDER BY path")]


@pytest.mark.parametrize("state", STATES)
async def test_a_job_in_any_state_is_gone_and_the_log_says_that_the_model_shows_nothing(queue, state):
    token = await queue.job_in(state, new_job(7))
    await queue.enqueue(new_job(8))
    await queue.news()
    forgotten = await forget(queue.lane, 7)
    assert forgotten.job_ids == [token.job_id]
    assert forgotten.leases == ([(queue.worker, token)] if state == "Processing" else [])
    assert await queue.news() == [Event("None", 7, token.job_id)]
    assert [row["model_id"] for row in await queue.sql("SELECT model_id FROM jobs")] == [8]
    assert (await queue.thumbnail(7)).status is ThumbnailStatus.NONE
    await assert_sound(queue.database)


async def test_every_picture_of_the_model_is_to_be_removed_and_none_of_another(queue):
    for file in (1, 2):
        (token,) = await queue.claimed(new_job(7, file=file))
        await queue.complete(picture(token, f"/t/{file}.webp"))
    (token,) = await queue.claimed(new_job(7, file=1, force=True))
    await queue.complete(picture(token, "/t/1.webp"))
    (token,) = await queue.claimed(new_job(8))
    await queue.complete(picture(token, "/t/other.webp"))
    assert (await forget(queue.lane, 7)).pictures == 2
    assert await removals(queue) == ["/t/1.webp", "/t/2.webp"]
    assert (await queue.thumbnail(8)).path == "/t/other.webp"


async def test_events_and_versions_go_too(queue):
    (token,) = await queue.claimed(new_job(7))
    await job_events.log(queue.lane, [NewJobEvent(token.job_id, "Rendered", "in one second", None, None)], 600)
    await model_versions.write(queue.database, [NewVersion(70, 7, new_job(7).model_hash)])
    await forget(queue.lane, 7)
    assert await queue.sql("SELECT FROM job_events") == []
    assert await model_versions.read_version(queue.database, 70) is None


async def test_a_late_result_is_refused_and_changes_nothing(queue):
    (token,) = await queue.claimed(new_job(7))
    await forget(queue.lane, 7)
    async with queue.unchanged():
        assert await queue.complete(token) == [Verdict.NOT_FOUND]
        assert await queue.fail(token) == [Verdict.NOT_FOUND]
        assert await queue.release(token) == [Verdict.NOT_FOUND]
        assert await queue.extend(token) == [Verdict.NOT_FOUND]


async def test_a_model_that_nothing_is_known_of_is_forgotten_already(queue):
    async with queue.unchanged():
        forgotten = await forget(queue.lane, 7)
    assert (forgotten.job_ids, forgotten.pictures) == ([], 0)


async def test_a_model_that_was_forgotten_can_be_asked_for_again(queue):
    token = await queue.job_in("Completed", new_job(7))
    await forget(queue.lane, 7)
    [answer] = await queue.enqueue(new_job(7))
    assert answer.outcome is EnqueueOutcome.CREATED
    assert answer.job_id > token.job_id
    await queue.complete(*await queue.claim())
    assert (await queue.thumbnail(7)).status is ThumbnailStatus.READY


async def test_two_forget_at_once_and_the_log_tells_it_once(queue, lanes):
    [job_id] = await queue.enqueued(new_job(7))
    await queue.news()
    async with (
        locked(queue.database, "jobs") as rows,
        until_blocked(queue, forget(lanes[1], 7)) as first,
        until_blocked(queue, forget(lanes[2], 7), count=2) as second,
    ):
        await rows.execute("COMMIT")
    answers = [list(answer.job_ids) for answer in await asyncio.gather(first, second)]
    assert sorted(answers) == [[], [job_id]]
    assert await queue.news() == [Event("None", 7, job_id)]
    await assert_sound(queue.database)


async def test_an_enqueue_that_finds_its_job_forgotten_makes_another(queue, lanes):
    old = await queue.job_in("Completed", new_job(7))
    async with (
        locked(queue.database, "queue_head") as head,
        until_blocked(queue, forget(lanes[1], 7)) as forgetting,
        until_blocked(queue, queue.on(lanes[2]).enqueue(new_job(7, force=True)), count=2) as enqueueing,
    ):
        await head.execute("COMMIT")
    assert (await forgetting).job_ids == [old.job_id]
    [answer] = await enqueueing
    assert answer.outcome is EnqueueOutcome.CREATED
    assert await queue.status(answer.job_id) == "Pending"
    await assert_sound(queue.database)


async def test_a_result_that_came_first_is_forgotten_with_the_rest(queue, lanes):
    (token,) = await queue.claimed(new_job(7))
    await queue.news()
    async with (
        locked(queue.database, "queue_head") as head,
        until_blocked(queue, queue.on(lanes[1]).complete(picture(token, "/t/late.webp"))) as reporting,
        until_blocked(queue, forget(lanes[2], 7), count=2) as forgetting,
    ):
        await head.execute("COMMIT")
    assert await reporting == [Verdict.OK]
    assert (await forgetting).pictures == 1
    assert await removals(queue) == ["/t/late.webp"]
    assert [event.status for event in await queue.news()] == ["Ready", "None"]
    await assert_sound(queue.database)


async def test_a_job_that_goes_back_to_the_queue_meanwhile_is_forgotten_there(queue, lanes):
    (token,) = await queue.claimed(new_job(7))
    async with (
        locked(queue.database, "leases") as rows,
        until_blocked(queue, queue.on(lanes[1]).release(token)) as releasing,
        until_blocked(queue, forget(lanes[2], 7), count=2) as forgetting,
    ):
        await rows.execute("COMMIT")
    assert await releasing == [Verdict.OK]
    forgotten = await forgetting
    assert (forgotten.job_ids, forgotten.leases) == ([token.job_id], [])
    await assert_sound(queue.database)
