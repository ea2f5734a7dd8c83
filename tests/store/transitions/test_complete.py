"""Completing: an attempt ends with a picture."""

import pytest

from tests.support.postgres.queue_under_test import Event, in_columns, model_file, new_job, picture, untold
from thumbq_server.domain.job import Token, Verdict
from thumbq_server.storage.transitions.complete import complete, complete_columns

OK, ALREADY_DONE, STALE = Verdict.OK, Verdict.ALREADY_DONE, Verdict.STALE


async def test_a_completed_job_keeps_its_record_and_shows_its_picture(queue):
    (token,) = await queue.claimed(new_job(7))
    await queue.news()
    assert await complete(queue.lane, [picture(token, "/a.webp")]) == [(OK, 7)]

    job = await queue.job(token.job_id)
    assert (job.status, job.attempt_count, job.lease_seq) == ("Completed", 1, token.lease_seq)
    assert (job.worker_id, job.lease_expires_at, job.error_message) == (None, None, None)
    assert job.finished_at == job.updated_at > job.created_at

    thumbnail = await queue.thumbnail(7)
    assert (thumbnail.status, thumbnail.path, thumbnail.size_bytes) == ("Ready", "/a.webp", 1234)
    assert (thumbnail.width, thumbnail.height) == (512, 256)
    assert (thumbnail.model_hash, thumbnail.error_message) == (model_file(1), None)
    assert thumbnail.processed_at == job.finished_at
    assert await queue.news() == [Event("Ready", 7, token.job_id, 1)]
    assert await queue.value("completed FROM queue_head") == 1


async def test_the_paths_of_a_batch_may_have_all_letters(queue):
    paths = ['/a, b/{"c"}.webp', "/\\n\\x1f/'.webp", "/ü/名 NULL.webp", "/{},{}/\\"]
    tokens = await queue.claimed(*(new_job(model) for model in range(1, 5)))
    pictures = [picture(token, path) for token, path in zip(tokens, paths, strict=True)]
    assert [verdict for verdict, _ in await complete(queue.lane, pictures)] == [OK] * 4
    shown = [(await queue.thumbnail(model)).path for model in range(1, 5)]
    assert shown == paths


async def test_a_path_with_a_control_character_ends_no_job(queue):
    """No check lets it pass. It would move the pictures of the others in the batch."""
    tokens = await queue.claimed(new_job(1), new_job(2))
    with pytest.raises(ValueError, match="control character"):
        await complete(queue.lane, [picture(tokens[0], "/a\x1f/b.webp"), picture(tokens[1], "/b.webp")])
    assert [(await queue.job(token.job_id)).status for token in tokens] == ["Processing", "Processing"]


async def test_a_success_after_failures_forgets_their_message_and_tells_the_attempt(queue):
    token = await queue.job_in("Waiting", new_job(7))
    await queue.make_due(token.job_id)
    await queue.news()
    await queue.complete(*await queue.claim())
    assert (await queue.job(token.job_id)).error_message is None
    assert await queue.news() == [Event("Ready", 7, token.job_id, 2)]


async def test_a_report_that_arrives_twice_in_one_batch_is_taken_once(queue):
    (token,) = await queue.claimed(new_job(7))
    await queue.news()
    assert await queue.complete(token, token) == [OK, ALREADY_DONE]
    assert len(await queue.news()) == 1


async def test_a_report_with_and_one_without_its_lease_in_one_batch_are_taken_once(queue):
    (token,) = await queue.claimed(new_job(7))
    await queue.news()
    assert await queue.complete(token, untold(token)) in (
        [OK, Verdict.NOT_PROCESSING],
        [ALREADY_DONE, OK],
    )
    assert len(await queue.news()) == 1


async def test_a_failure_after_the_success_was_committed_changes_nothing(queue):
    (token,) = await queue.claimed(new_job(7))
    await queue.complete(token)
    async with queue.unchanged():
        assert await queue.fail(token) == [STALE]
        assert await queue.fail(untold(token)) == [Verdict.NOT_PROCESSING]
    assert await queue.status(token.job_id) == "Completed"
    assert (await queue.thumbnail(7)).status == "Ready"


async def test_success_and_failure_for_each_of_two_jobs_in_their_own_batches(queue):
    good, bad = await queue.claimed(new_job(1), new_job(2))
    assert (await queue.complete(good), await queue.fail(bad)) == ([OK], [OK])
    assert await queue.status(good.job_id) == "Completed"
    assert await queue.status(bad.job_id) == "Pending"


async def test_a_thousand_pictures_are_one_commit_and_answered_in_order(queue):
    tokens = await queue.claimed(*[new_job(model) for model in range(1, 1001)])
    await queue.news()
    reports = [*reversed(tokens[1:]), Token(999_999_999, 1), tokens[0]]
    answers = await complete(queue.lane, [picture(token) for token in reports])
    assert answers[:999] == [(OK, model) for model in range(1000, 1, -1)]
    assert answers[999:] == [(Verdict.NOT_FOUND, 0), (OK, 1)]
    assert await queue.value("count(*) FROM notifications WHERE status = 'Ready'") == 1
    assert len(await queue.news()) == 1000
    assert await queue.value("completed FROM queue_head") == 1000


async def test_columns_end_what_is_held_and_tell_why_of_the_rest(queue):
    """Two claims, each reported in two groups; one job is done before, one lease is stale, and one job is unknown."""
    first, second = [await queue.claimed(*map(new_job, models)) for models in ((1, 2, 3), (4, 5, 6))]
    (done,) = await queue.claimed(new_job(7))
    await queue.complete(done)
    await queue.news()
    stale, unknown = Token(second[2].job_id, first[0].lease_seq), Token(999_999_999, 1)
    tokens = [second[0], *first[1:], unknown, stale, done, first[0], second[1]]

    answers = await complete_columns(queue.lane, in_columns(map(picture, tokens)))
    assert [len(group) for group in answers] == [0, 0, 1, 1, 1, 0, 0]
    assert [*answers[2], *answers[3], *answers[4]] == [
        (unknown, Verdict.NOT_FOUND),
        (stale, STALE),
        (done, ALREADY_DONE),
    ]
    assert [event.model_id for event in await queue.news()] == [2, 3, 1, 4, 5]
    for token in (*first, *second[:2]):
        (row,) = await queue.sql("SELECT path, width, height FROM attempts WHERE job_id = $1", token.job_id)
        assert tuple(row) == picture(token)[2:3] + picture(token)[4:]
    assert await queue.status(stale.job_id) == "Processing"


async def test_columns_keep_the_measures_of_each_picture(queue):
    tokens = await queue.claimed(*map(new_job, range(1, 5)))
    pictures = [picture(token)._replace(width=1 + n, height=9 - n, size_bytes=n) for n, token in enumerate(tokens)]
    assert await complete_columns(queue.lane, in_columns(pictures)) == [[]]
    rows = await queue.sql("SELECT job_id, path, size_bytes, width, height FROM attempts ORDER BY job_id")
    assert [tuple(row) for row in rows] == [(item.job_id, *item[2:]) for item in pictures]


async def test_columns_that_name_a_job_twice_or_jobs_of_one_model_are_taken_job_by_job(queue):
    first, second, third = await queue.claimed(new_job(7), new_job(7, file=2), new_job(8))
    await queue.news()
    twice = [picture(token) for token in (first, third, second, third)]
    assert await complete_columns(queue.lane, in_columns(twice)) == [[(third, ALREADY_DONE)]]
    assert {(event.status, event.model_id) for event in await queue.news()} == {("Ready", 7), ("Ready", 8)}
    assert await queue.value("count(*) FROM attempts WHERE outcome = 'Completed'") == 3
