"""The newest request for a model decides what it shows, in whatever order the jobs end."""

from itertools import permutations

import asyncpg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.conditions import locked, meddled, until_blocked
from tests.support.postgres.queue_under_test import failure, model_file, new_job, picture
from thumbq_server.domain.job import Enqueued, EnqueueOutcome, Token, Verdict
from thumbq_server.storage.transitions.enqueue import enqueue
from thumbq_server.storage.transitions.revivals import RENEW, RESTART

OK = Verdict.OK
A, B = 1, 2


async def assert_shows(queue, file, status="Ready"):
    thumbnail = await queue.thumbnail(7)
    assert (thumbnail.status, thumbnail.model_hash) == (status, model_file(file))


@pytest.mark.parametrize("files", list(permutations([1, 2, 3])))
async def test_the_newest_request_wins_in_every_order_of_completion(queue, files):
    tokens = await queue.claimed(*[new_job(7, file=file) for file in (1, 2, 3)])
    for file in files:
        await queue.complete(tokens[file - 1])
    await assert_shows(queue, 3)


@pytest.mark.parametrize("older_ends_with", ["complete", "fail"])
async def test_the_late_end_of_an_older_request_is_recorded_but_neither_shown_nor_announced(queue, older_ends_with):
    older, newer = await queue.claimed(new_job(7, file=A), new_job(7, file=B))
    await queue.complete(newer)
    await queue.news()
    before = await queue.thumbnail(7)
    assert await getattr(queue, older_ends_with)(older) == [OK]
    assert await queue.thumbnail(7) == before
    assert await queue.news() == []
    assert (await queue.job(older.job_id)).attempt_count == 1


async def test_several_jobs_of_one_model_in_one_batch_show_and_announce_the_newest(queue):
    tokens = await queue.claimed(*[new_job(7, file=file) for file in (1, 2, 3)], new_job(8))
    await queue.news()
    assert await queue.complete(tokens[2], tokens[0], tokens[3], tokens[1]) == [OK] * 4
    await assert_shows(queue, 3)
    assert {(event.model_id, event.job_id) for event in await queue.news()} == {
        (7, tokens[2].job_id),
        (8, tokens[3].job_id),
    }
    assert await queue.value("completed FROM queue_head") == 4


async def test_several_failures_of_one_model_in_one_batch_show_and_announce_the_newest(queue):
    first, second = await queue.claimed(new_job(7, file=A), new_job(7, file=B))
    await queue.news()
    assert await queue.fail(failure(second, "newest"), failure(first, "older")) == [OK] * 2
    assert (await queue.thumbnail(7)).error_message == "newest"
    assert [event.error_message for event in await queue.news()] == ["newest"]


@pytest.mark.parametrize("order", list(permutations(["A", "B"])))
async def test_a_then_b_then_a_again_shows_a_whichever_ends_first(queue, order):
    a, b = await queue.enqueued(new_job(7, file=A), new_job(7, file=B))
    assert await queue.enqueue(new_job(7, file=A)) == [Enqueued(a, EnqueueOutcome.EXISTING)]
    tokens = {"AB"[[a, b].index(token.job_id)]: token for token in await queue.claim(2)}
    for name in order:
        await queue.complete(tokens[name])
    await assert_shows(queue, A)


@pytest.mark.parametrize("order", list(permutations(["A", "B"])))
async def test_so_it_does_when_both_are_under_way(queue, order):
    a, b = await queue.claimed(new_job(7, file=A), new_job(7, file=B))
    await queue.enqueue(new_job(7, file=A))
    for name in order:
        await queue.complete({"A": a, "B": b}[name])
    await assert_shows(queue, A)


async def test_so_it_does_when_a_is_shown_and_b_is_still_waiting(queue):
    a = await queue.job_in("Completed", new_job(7, file=A))
    (b,) = await queue.claimed(new_job(7, file=B))
    assert await queue.enqueue(new_job(7, file=A)) == [Enqueued(a.job_id, EnqueueOutcome.EXISTING)]
    await assert_shows(queue, A)
    await queue.news()
    assert await queue.complete(b) == [OK]
    await assert_shows(queue, A)
    assert await queue.news() == []


async def test_so_it_does_when_a_waits_for_its_retry(queue):
    a = await queue.job_in("Waiting", new_job(7, file=A))
    (b,) = await queue.claimed(new_job(7, file=B))
    await queue.enqueue(new_job(7, file=A))
    await queue.complete(b)
    await queue.make_due(a.job_id)
    await queue.complete(*await queue.claim())
    await assert_shows(queue, A)


async def test_so_it_does_when_a_was_forced_to_run_again_before_b_came(queue):
    (a,) = await queue.claimed(new_job(7, file=A))
    await queue.enqueue(new_job(7, file=A, force=True))
    (b,) = await queue.claimed(new_job(7, file=B))
    await queue.enqueue(new_job(7, file=A))
    await queue.complete(a)
    await assert_shows(queue, A, status="Pending")
    (again,) = await queue.claim()
    await queue.complete(b, again)
    thumbnail = await queue.thumbnail(7)
    assert (thumbnail.status, thumbnail.path) == ("Ready", picture(again).thumbnail_path)


async def test_b_asked_for_after_a_was_forced_to_run_again_shows_b(queue):
    a, b = await queue.claimed(new_job(7, file=A), new_job(7, file=B))
    await queue.enqueue(new_job(7, file=A, force=True))
    await queue.enqueue(new_job(7, file=B))
    await queue.complete(a, b)
    await queue.complete(*await queue.claim())
    await assert_shows(queue, B)


@pytest.mark.parametrize("verb", ["complete", "fail"])
async def test_an_end_that_meets_a_new_request_for_its_job_takes_the_number_of_that_request(queue, verb):
    """A was overtaken by B, is asked for again, and ends at the same moment."""
    a, b = await queue.claimed(new_job(7, file=A, max_attempts=1), new_job(7, file=B))
    await queue.complete(b)
    asking = await asyncpg.connect(queue.database.dsn)
    try:
        transaction = asking.transaction()
        await transaction.start()
        job = await queue.job(a.job_id)
        assert await asking.fetch(RENEW.text, [a.job_id], [job.request_no])
        async with until_blocked(queue, getattr(queue, verb)(a)) as ending:
            await transaction.commit()
        assert await ending == [OK]
    finally:
        await asking.close()
    thumbnail = await queue.value("job_id FROM thumbnails")
    assert thumbnail == a.job_id


@pytest.mark.parametrize("verb", ["complete", "fail"])
async def test_a_new_request_that_meets_the_end_of_its_job_renews_what_that_end_shows(queue, lanes, verb):
    """A was overtaken by B, ends, and is asked for again while that end is being committed; then B ends."""
    a, b = await queue.claimed(new_job(7, file=A), new_job(7, file=B))
    async with (
        locked(queue.database, "jobs") as rows,
        until_blocked(queue, getattr(queue.on(lanes[1]), verb)(a)),
        until_blocked(queue, queue.on(lanes[2]).enqueue(new_job(7, file=A)), count=2) as asking,
    ):
        await rows.execute("COMMIT")
    assert await asking == [Enqueued(a.job_id, EnqueueOutcome.EXISTING)]
    await queue.complete(b)
    assert await queue.value("job_id FROM thumbnails") == a.job_id


async def test_a_failure_that_became_the_newest_request_stays_that_when_its_job_starts_again(queue):
    """A has failed and is shown, B is under way, A is asked for again, and then by force: B may not be shown."""
    a, b = await queue.claimed(new_job(7, file=A), new_job(7, file=B))
    await queue.fail(a)

    async def ask_again():
        await queue.enqueue(new_job(7, file=A))

    async with meddled(queue.database, RESTART, ask_again) as lane:
        await enqueue(lane, [new_job(7, file=A, force=True)])
    assert await queue.complete(b) == [OK]
    assert await queue.value("job_id FROM thumbnails") == a.job_id


async def fails_and_is_asked_for_again(queue, a):
    await queue.fail(failure(a, retryable=False))
    await queue.enqueue(new_job(7, file=A))


async def waits_and_starts_again(queue, a):
    await queue.fail(a)
    await queue.enqueue(new_job(7, file=A, force=True))


async def fails_and_runs_again(queue, a):
    await queue.enqueue(new_job(7, file=A, force=True))
    await queue.fail(a)


@pytest.mark.parametrize("begins_again", [fails_and_is_asked_for_again, waits_and_starts_again, fails_and_runs_again])
async def test_a_failure_of_an_earlier_run_does_not_become_the_newest_request_with_its_job(queue, begins_again):
    """B is asked for after the failure of A, and A once more after that. B ends first, and its picture is good."""
    (a,) = await queue.claimed(new_job(7, file=A))
    await begins_again(queue, a)
    await queue.enqueue(new_job(7, file=B))
    await queue.enqueue(new_job(7, file=A))
    tokens = {token.job_id: token for token in await queue.claim(2)}
    again = tokens.pop(a.job_id)
    await queue.complete(*tokens.values())
    await assert_shows(queue, B, status="Processing")
    await queue.complete(again)
    await assert_shows(queue, A)


async def test_a_picture_of_an_earlier_run_becomes_the_newest_request_with_its_job(queue):
    a = await queue.job_in("Completed", new_job(7, file=A))
    await queue.enqueue(new_job(7, file=A, force=True, delay=60))
    (b,) = await queue.claimed(new_job(7, file=B))
    await queue.enqueue(new_job(7, file=A))
    await queue.complete(b)
    assert (await queue.thumbnail(7)).path == picture(a).thumbnail_path


async def test_an_end_and_a_new_request_for_its_job_do_not_wait_for_each_other(queue, lanes, no_second_try):
    """An end locks its job, and the head; a renewal locks the job alone."""
    (a,) = await queue.claimed(new_job(7, file=A))
    await queue.fail(failure(a, retry_delay=0))
    (a,) = await queue.claim()
    await queue.enqueue(new_job(7, file=B, delay=60))
    holding = await asyncpg.connect(queue.database.dsn)
    try:
        transaction = holding.transaction()
        await transaction.start()
        await holding.execute("SELECT FROM queue_head FOR UPDATE")
        async with until_blocked(queue, queue.fail(a)) as failing:
            asking = enqueue(lanes[1], [new_job(7, file=A)])
            async with until_blocked(queue, asking, count=2) as asked:
                await transaction.commit()
        assert await failing == [OK]
        assert await asked == [Enqueued(a.job_id, EnqueueOutcome.EXISTING)]
    finally:
        await holding.close()


VERBS = ["complete", "fail", "fail for good", "release", "expire"]
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("enqueue"), st.sampled_from([A, B]), st.booleans()),
        st.tuples(st.just("claim"), st.integers(1, 2)),
        st.tuples(st.sampled_from(VERBS), st.integers(0, 1)),
    ),
    min_size=1,
    max_size=25,
)
_models = iter(range(1, 1_000_000))


async def take(queue, step, model, held):
    match step:
        case ("enqueue", file, force):
            await queue.enqueue(new_job(model, file=file, force=force))
        case ("claim", count):
            await queue.make_due(*[row["job_id"] for row in await queue.sql("SELECT job_id FROM ready")])
            held += await queue.claim(count)
        case (verb, index) if index < len(held):
            token = held.pop(index)
            match verb:
                case "complete":
                    assert await queue.complete(token) == [OK]
                case "fail":
                    assert await queue.fail(token) == [OK]
                case "fail for good":
                    assert await queue.fail(failure(token, retryable=False)) == [OK]
                case "release":
                    assert await queue.release(token) == [OK]
                case "expire":
                    await queue.expired(token)


@settings(
    max_examples=60,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(steps=STEPS)
async def test_after_any_story_a_model_shows_the_end_of_its_newest_request(queue, steps):
    model, newest = next(_models), None
    held: list[Token] = []
    for step in steps:
        await take(queue, step, model, held)
        if step[0] == "enqueue":
            newest = step[1]
    await queue.complete(*held)
    while await queue.value("count(*) FROM ready"):
        held.clear()
        await take(queue, ("claim", 2), model, held)
        await queue.complete(*held)
    thumbnail = await queue.thumbnail(model)
    if newest is None:
        assert thumbnail.status == "None"
    else:
        (job,) = await queue.sql(
            "SELECT id, status FROM job_states WHERE model_id = $1 AND model_hash = $2", model, model_file(newest)
        )
        assert thumbnail.status == {"Completed": "Ready", "Failed": "Failed"}[job["status"]]
        assert await queue.value("job_id FROM thumbnails WHERE model_id = $1", model) == job["id"]
