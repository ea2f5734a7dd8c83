"""What a model shows: the outcome of the newest request for it, whatever the order in which jobs end."""

from tests.support.postgres.queue_under_test import failure, model_file, new_job, picture
from thumbq_server.domain.job import Verdict

OK = Verdict.OK
A, B = 1, 2


async def assert_shows(queue, file, status="Ready"):
    thumbnail = await queue.thumbnail(7)
    assert (thumbnail.status, thumbnail.model_hash) == (status, model_file(file))


async def test_a_model_nobody_asked_for_has_no_thumbnail(queue):
    thumbnail = await queue.thumbnail(7)
    assert (thumbnail.model_id, thumbnail.status, thumbnail.path) == (7, "None", None)


async def test_the_status_of_a_thumbnail_follows_its_job(queue):
    async def shown():
        thumbnail = await queue.thumbnail(7)
        return thumbnail.status, thumbnail.path is not None, thumbnail.error_message

    [job_id] = await queue.enqueued(new_job(7))
    assert await shown() == ("Pending", False, None)
    (token,) = await queue.claim()
    assert await shown() == ("Processing", False, None)
    await queue.release(token)
    assert await shown() == ("Pending", False, None)
    await queue.fail(*await queue.claim())
    assert await shown() == ("Failed", False, "boom"), "a retry that waits is shown as what it waits for"
    await queue.make_due(job_id)
    await queue.release(*await queue.claim())
    assert await shown() == ("Failed", False, "boom")
    (token,) = await queue.claim()
    assert (await shown())[0] == "Processing"
    await queue.complete(token)
    assert await shown() == ("Ready", True, None)
    await queue.enqueue(new_job(7, force=True))
    assert await shown() == ("Pending", True, None)


async def test_a_model_whose_only_job_was_cancelled_has_no_thumbnail(queue):
    await queue.job_in("Cancelled", new_job(7))
    assert (await queue.thumbnail(7)).status == "None"


async def test_a_forced_retry_shows_as_pending(queue):
    await queue.job_in("Waiting", new_job(7))
    await queue.enqueue(new_job(7, force=True))
    assert (await queue.thumbnail(7)).status == "Pending"


async def test_a_file_that_runs_again_by_force_is_the_newest_request_already_while_its_attempt_goes_on(queue):
    await queue.claimed(new_job(7, file=A))
    await queue.job_in("Completed", new_job(7, file=B))
    await assert_shows(queue, B)
    await queue.enqueue(new_job(7, file=A, force=True))
    await assert_shows(queue, B, status="Processing")


async def test_a_failed_re_render_keeps_serving_the_last_good_file(queue):
    good = await queue.job_in("Completed", new_job(7))
    before = await queue.thumbnail(7)
    await queue.enqueue(new_job(7, force=True))
    (again,) = await queue.claim()
    await queue.fail(failure(again, "out of memory", retryable=False))
    after = await queue.thumbnail(7)
    assert (after.status, after.error_message) == ("Failed", "out of memory")
    assert (after.path, after.size_bytes) == (picture(good).thumbnail_path, 1234)
    changing = {"status", "error_message", "processed_at"}
    assert {k: v for k, v in after._asdict().items() if k not in changing} == {
        k: v for k, v in before._asdict().items() if k not in changing
    }


async def test_a_failed_render_of_a_newer_file_keeps_serving_the_older_picture(queue):
    await queue.job_in("Completed", new_job(7, file=A))
    await queue.fail(*await queue.claimed(new_job(7, file=B)))
    await assert_shows(queue, A, status="Failed")


async def test_a_picture_after_a_failure_is_ready_without_a_message(queue):
    token = await queue.job_in("Waiting", new_job(7))
    await queue.make_due(token.job_id)
    await queue.complete(*await queue.claim())
    thumbnail = await queue.thumbnail(7)
    assert (thumbnail.status, thumbnail.error_message) == ("Ready", None)
