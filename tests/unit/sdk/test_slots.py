"""The slots of a worker run handlers, without a server."""

import asyncio
import contextlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar

import pytest

from tests.support.service.slots import PICTURE, Reports, Start, fail_soon, failures, jobs
from thumbq import Job, JobFailed, JobReleased, Thumbnail
from thumbq.outbox import Outbox
from thumbq.working import slots
from thumbq.working.slots import Slots


async def test_handlers_that_never_wait_share_one_slot_and_one_message(
    start: Start, reports: Reports, monkeypatch: pytest.MonkeyPatch
):
    # A slot lets others run after a few milliseconds, which a busy machine may take for any handler.
    monkeypatch.setattr(slots, "_TURN", 60)
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
        async with asyncio.timeout(30), asyncio.TaskGroup() as group:
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


@pytest.mark.parametrize("waits", [False, True], ids=["at once", "after a wait"])
def test_slots_work_in_a_loop_whose_tasks_begin_at_once(waits: bool):
    begins_at_once = vars(asyncio).get("eager_task_factory")  # from Python 3.12 on; None is the usual way

    async def handler(job: Job) -> Thumbnail:
        if waits:
            await asyncio.sleep(0)
        return PICTURE

    async def main() -> None:
        asyncio.get_running_loop().set_task_factory(begins_at_once)
        reports = Reports()
        slots = Slots(handler, 2, reports.outbox)
        slots.accept(jobs(1, 2, 3))
        assert failures(await reports.first(3)) == ["", "", ""]
        slots.abort()
        await slots.end()

    # A loop of its own, in a thread of its own: it would take the loop of all tests away.
    with ThreadPoolExecutor() as thread:
        thread.submit(asyncio.run, main()).result()
