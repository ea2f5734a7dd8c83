"""The slots of a worker lose leases, close and abort, without a server."""

import asyncio

from tests.support.service.slots import PICTURE, Reports, Start, fail_soon, jobs
from thumbq import Job, Thumbnail


async def test_a_lost_lease_cancels_the_handler_and_discards_its_result(start: Start, reports: Reports):
    begun, cleaned_up = asyncio.Event(), asyncio.Event()

    async def handler(job: Job) -> Thumbnail:
        if job.id == 1:
            begun.set()
            try:
                await asyncio.Event().wait()
            finally:
                cleaned_up.set()
        # The slot's task bears no trace of its cancellation.
        task = asyncio.current_task()
        assert task is not None
        assert task.cancelling() == 0
        async with asyncio.TaskGroup() as group:
            group.create_task(fail_soon())
        return PICTURE

    slots = start(handler)
    slots.accept(jobs(1, 2, 3))
    await begun.wait()

    slots.lose(["1:1", "2:1", "unknown"])

    (result,) = await reports.next()
    assert result.lease_token == "3:1"
    assert result.fail.error_message.startswith("ExceptionGroup")
    assert cleaned_up.is_set()
    assert sorted(reports.outbox.lost) == ["1:1", "2:1"]


async def test_a_handler_that_resists_occupies_its_slot_until_it_ends(start: Start, reports: Reports):
    begun, resisted, let_go = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def handler(job: Job) -> Thumbnail:
        begun.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            resisted.set()
            await let_go.wait()
        return PICTURE

    slots = start(handler)
    slots.accept(jobs(1))
    await begun.wait()
    slots.lose(["1:1"])
    await resisted.wait()
    assert not slots.held
    assert not reports.outbox.lost

    let_go.set()
    await asyncio.sleep(0)
    await asyncio.sleep(0)

    assert reports.outbox.lost == ["1:1"]
    assert reports.outbox.empty


async def test_a_job_that_comes_back_after_its_lease_was_lost_is_another_job(start: Start, reports: Reports):
    attempts = iter([asyncio.Event().wait, lambda: asyncio.sleep(0)])
    begun = asyncio.Event()

    async def handler(job: Job) -> Thumbnail:
        begun.set()
        await next(attempts)()
        return PICTURE

    slots = start(handler)
    slots.accept(jobs(1))
    await begun.wait()
    slots.lose(["1:1"])
    slots.accept({"1:2": Job(id=1, lease_token="1:2")})
    (result,) = await reports.next()
    assert result.lease_token == "1:2"


async def test_closing_releases_what_has_not_begun_and_waits_for_the_rest(start: Start, reports: Reports):
    go_on = asyncio.Event()

    async def handler(job: Job) -> Thumbnail:
        await go_on.wait()
        return PICTURE

    slots = start(handler, concurrency=2)
    slots.accept(jobs(1, 2, 3, 4))
    await asyncio.sleep(0)
    await asyncio.sleep(0)

    slots.close()
    slots.accept(jobs(5))

    released = await reports.next()
    assert [(result.lease_token, result.WhichOneof("outcome")) for result in released] == [
        ("3:1", "release"),
        ("4:1", "release"),
        ("5:1", "release"),
    ]
    finished = asyncio.create_task(slots.finished())
    await asyncio.sleep(0)
    assert not finished.done()
    go_on.set()
    await finished
    assert all(result.HasField("complete") for result in await reports.next())


async def test_aborting_cancels_and_releases_but_keeps_a_result_that_still_comes(start: Start, reports: Reports):
    async def handler(job: Job) -> Thumbnail:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            match job.id:
                case 1:
                    raise
                case 2:
                    raise ValueError("broken off") from None
        return PICTURE

    slots = start(handler, concurrency=3)
    slots.accept(jobs(1, 2, 3))
    for _ in range(4):
        await asyncio.sleep(0)

    slots.abort()
    await slots.finished()

    results = {result.lease_token: result.WhichOneof("outcome") for result in await reports.next()}
    assert results == {"1:1": "release", "2:1": "release", "3:1": "complete"}
