"""The slots of a worker, without a server."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack
from contextvars import ContextVar

import pytest

from thumbq import Job, JobFailed, JobReleased, Thumbnail
from thumbq.outbox import Outbox
from thumbq.slots import Handler, Slots
from thumbq.v1.job_pb2 import Result

PICTURE = Thumbnail("/thumbnails/a.png", 1, 1, 1)

Start = Callable[..., Slots]


class Reports:
    """An outbox, and the results that a server would read from it."""

    def __init__(self) -> None:
        self.wake = asyncio.Event()
        self.outbox = Outbox(self.wake)

    async def next(self) -> list[Result]:
        while not (message := self.outbox.take()):
            self.wake.clear()
            async with asyncio.timeout(5):
                await self.wake.wait()
        self.outbox.acknowledge(message.results.number, [])
        return list(message.results.results)

    async def first(self, count: int) -> list[Result]:
        results: list[Result] = []
        while len(results) < count:
            results += await self.next()
        return results


@pytest.fixture
def reports() -> Reports:
    return Reports()


@pytest.fixture
async def start(reports: Reports) -> AsyncIterator[Start]:
    async with AsyncExitStack() as stack:

        def start(handler: Handler, concurrency: int = 1) -> Slots:
            slots = Slots(handler, concurrency, reports.outbox)

            async def end() -> None:
                slots.abort()
                await slots.end()

            stack.push_async_callback(end)
            return slots

        yield start


def jobs(*ids: int) -> list[Job]:
    return [Job(id=number, model_id=number, lease_token=f"{number}:1") for number in ids]


async def fail_soon() -> None:
    raise ValueError("of a child")


def failures(results: list[Result]) -> list[str]:
    return [result.fail.error_message for result in results]


async def test_handlers_that_never_wait_share_one_slot_and_one_message(start: Start, reports: Reports):
    tasks = set()

    async def handler(job: Job) -> Thumbnail:
        tasks.add(asyncio.current_task())
        return PICTURE

    start(handler, concurrency=100).accept(jobs(*range(500)))

    results = await reports.next()
    assert [result.lease_token for result in results] == [f"{number}:1" for number in range(500)]
    assert len(tasks) == 1


async def test_no_more_handlers_run_than_there_are_slots(start: Start, reports: Reports):
    running = most = 0

    async def handler(job: Job) -> Thumbnail:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.001)
        running -= 1
        return PICTURE

    start(handler, concurrency=7).accept(jobs(*range(100)))
    await reports.first(100)
    assert most == 7


async def test_handlers_that_keep_the_processor_busy_let_others_have_a_turn(start: Start, reports: Reports):
    async def handler(job: Job) -> Thumbnail:
        deadline = asyncio.get_running_loop().time() + 0.006
        while asyncio.get_running_loop().time() < deadline:
            pass
        return PICTURE

    start(handler).accept(jobs(1, 2, 3))
    assert len(await reports.next()) == 1


async def test_each_job_has_a_context_of_its_own(start: Start, reports: Reports):
    variable = ContextVar("variable", default="untouched")
    seen = []

    async def handler(job: Job) -> Thumbnail:
        seen.append(variable.get())
        variable.set("before waiting")
        await asyncio.sleep(0)
        seen.append(variable.get())
        await asyncio.create_task(asyncio.sleep(0))
        seen.append(variable.get())
        return PICTURE

    start(handler).accept(jobs(1, 2))
    await reports.first(2)
    assert seen == ["untouched", "before waiting", "before waiting"] * 2
    assert variable.get() == "untouched"


async def test_the_context_of_the_caller_is_visible(start: Start, reports: Reports):
    variable: ContextVar[str] = ContextVar("variable")
    variable.set("of the caller")

    async def handler(job: Job) -> Thumbnail:
        raise JobFailed(variable.get())

    start(handler).accept(jobs(1))
    assert failures(await reports.next()) == ["of the caller"]


async def test_timeouts_and_task_groups_work_in_a_handler(start: Start, reports: Reports):
    async def handler(job: Job) -> Thumbnail:
        assert asyncio.current_task() is not None
        if job.id == 1:
            async with asyncio.timeout(0.001):
                await asyncio.Event().wait()
        if job.id == 2:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(asyncio.Event().wait(), 0.001)
        if job.id == 3:
            async with asyncio.TaskGroup() as group:
                group.create_task(fail_soon())
                await asyncio.Event().wait()
        async with asyncio.timeout(5), asyncio.TaskGroup() as group:
            group.create_task(asyncio.sleep(0))
        return PICTURE

    start(handler).accept(jobs(1, 2, 3, 4))
    first, second, third, fourth = await reports.first(4)
    assert first.fail.error_message == "TimeoutError"
    assert second.HasField("complete")
    assert third.fail.error_message.startswith("ExceptionGroup: unhandled errors in a TaskGroup")
    assert fourth.HasField("complete")


async def test_a_handler_decides_how_its_job_ends(start: Start, reports: Reports):
    async def handler(job: Job) -> Thumbnail:
        if job.id % 2:
            await asyncio.sleep(0)
        match job.id // 2:
            case 0:
                raise JobFailed("too large", retryable=False)
            case 1:
                raise JobReleased
            case 2:
                raise KeyError("surprise")
            case 3:
                raise asyncio.CancelledError
            case 4:
                return "/a.png"  # type: ignore[return-value]
            case 5:
                raise StopIteration
        return PICTURE

    start(handler).accept(jobs(*range(14)))
    results = await reports.first(14)
    for outcome in (results[::2], results[1::2]):
        assert [result.WhichOneof("outcome") for result in outcome] == [
            "fail",
            "release",
            "fail",
            "fail",
            "fail",
            "fail",
            "complete",
        ]
        assert failures(outcome)[::2] == [
            "too large",
            "KeyError: 'surprise'",
            "TypeError: the handler returned str, not a Thumbnail",
            "",
        ]
        assert failures(outcome)[3] == "CancelledError"
        assert failures(outcome)[5] == "RuntimeError: coroutine raised StopIteration"


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

    slots.lose(["1:1", "2:1", "unknown"], "it expired")

    (result,) = await reports.next()
    assert result.lease_token == "3:1"
    assert result.fail.error_message.startswith("ExceptionGroup")
    assert cleaned_up.is_set()
    assert slots.occupied == 0


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
    slots.lose(["1:1"], "it expired")
    await resisted.wait()
    assert (len(slots.held), slots.occupied) == (0, 1)

    let_go.set()
    await asyncio.sleep(0)
    await asyncio.sleep(0)

    assert slots.occupied == 0
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
    slots.lose(["1:1"], "it expired")
    slots.accept([Job(id=1, lease_token="1:2")])
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


async def test_an_error_in_the_slots_themselves_is_raised(start: Start, monkeypatch: pytest.MonkeyPatch):
    async def handler(job: Job) -> Thumbnail:
        return PICTURE

    def broken(*_: object) -> Iterator[None]:
        raise OSError("of our own")

    monkeypatch.setattr(Outbox, "complete", broken)
    slots = start(handler)
    slots.accept(jobs(1))
    with pytest.raises(OSError, match="of our own"):
        await slots.crashed
