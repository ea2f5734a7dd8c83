"""Whatever a handler raises, the attempt of its job fails, and the slots go on."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.support.service.slots import PICTURE, Reports, Start, jobs
from thumbq import Job, JobFailed, Thumbnail
from thumbq.v1.job_pb2 import Result
from thumbq.working.slots import Slots


class Panic(BaseException):
    """What a native library raises."""


class Unreadable(Exception):
    """Its text cannot be read."""

    def __str__(self) -> str:
        raise LookupError


class NoMesh(JobFailed):
    """A program's own class, which leaves out what JobFailed sets."""

    def __init__(self, mesh: str) -> None:
        Exception.__init__(self, mesh)


class NoModel(JobFailed):
    """A program's own class, which has no text as its message."""

    def __init__(self) -> None:
        super().__init__("no model", retryable=False)
        self.message = 404  # type: ignore[assignment]


class NoDelay(JobFailed):
    """A program's own class, which has no number as its delay."""

    def __init__(self) -> None:
        super().__init__("later")
        self.retry_delay = "soon"  # type: ignore[assignment]


RAISED = {
    "Panic: out of range": Panic("out of range"),
    "GeneratorExit": GeneratorExit(),
    "SystemExit: 3": SystemExit(3),
    "Unreadable, whose text cannot be read: it raises LookupError": Unreadable(),
    "NoMesh: leg": NoMesh("leg"),
    "404": NoModel(),
    "NoDelay: later": NoDelay(),
}

WAITS = pytest.mark.parametrize("waits", [False, True], ids=["at once", "after a wait"])


@WAITS
@pytest.mark.parametrize("text", RAISED)
async def test_whatever_a_handler_raises_costs_its_job_an_attempt(
    start: Start, reports: Reports, text: str, waits: bool
):
    async def handler(job: Job) -> Thumbnail:
        if waits:
            await asyncio.sleep(0)
        if job.id == 1:
            raise RAISED[text]
        return PICTURE

    start(handler).accept(jobs(1, 2))
    failed, completed = await reports.first(2)
    assert failed.fail.error_message == text
    assert failed.fail.HasField("retryable") == (text == "404")
    assert completed.HasField("complete")


@WAITS
async def test_a_handler_whose_task_is_cancelled_when_its_job_has_ended_keeps_no_other_job_waiting(
    start: Start, reports: Reports, waits: bool
):
    tasks: list[asyncio.Task[None]] = []

    async def handler(job: Job) -> Thumbnail:
        task = asyncio.current_task()
        assert task
        tasks.append(task)
        if waits:
            await asyncio.sleep(0)
        return PICTURE

    slots = start(handler)
    for number in range(3):
        slots.accept(jobs(number))
        (result,) = await reports.next()
        assert result.HasField("complete")
        await asyncio.sleep(0)  # the slot waits for the next job
        tasks[-1].cancel()
        if number == 0:
            await asyncio.sleep(0)  # the slot learns of it; otherwise the next job comes before
    assert not slots.crashed.done()
    assert len(set(tasks)) == 1


@WAITS
def test_an_interrupt_of_a_handler_ends_the_program_and_costs_the_job_an_attempt(waits: bool):
    results: list[Result] = []

    async def handler(job: Job) -> Thumbnail:
        if waits:
            await asyncio.sleep(0)
        raise KeyboardInterrupt

    async def main() -> None:
        reports = Reports()
        slots = Slots(handler, 1, reports.outbox)
        slots.accept(jobs(1))
        try:
            await slots.crashed
        finally:
            slots.abort()
            results.extend(await reports.next())

    # A loop of its own, in a thread of its own: it would take the loop of all tests away.
    with ThreadPoolExecutor() as thread, pytest.raises(KeyboardInterrupt):
        thread.submit(asyncio.run, main()).result()
    assert [result.fail.error_message for result in results] == ["KeyboardInterrupt"]
