"""The duties of a program run as long as it does."""

import asyncio
import gc
from collections.abc import Awaitable, Callable

import pytest
from structlog.testing import capture_logs

from thumbq_runtime.process.duties import running


async def test_a_program_that_stops_at_once_ends_without_a_warning():
    """Warnings are errors here: this fails when the coroutine is dropped without a start."""

    async def work() -> None:
        await asyncio.sleep(60)

    async with running(work(), failure="work.failed", broken=asyncio.Event()):
        pass
    gc.collect()


async def fails() -> None:
    raise ZeroDivisionError


async def returns() -> None:
    return


async def is_cancelled() -> None:
    """Wait for something that others share, and that one of them has cancelled."""
    shared: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    shared.cancel()
    await shared


@pytest.mark.parametrize("end", [fails, returns, is_cancelled])
async def test_a_program_ends_when_one_of_its_duties_does_however_it_does(end: Callable[[], Awaitable[None]]):
    async def work() -> None:
        await asyncio.sleep(0)
        await end()

    broken = asyncio.Event()
    with capture_logs() as lines:
        async with running(work(), failure="work.failed", broken=broken), asyncio.timeout(30):
            await broken.wait()
    assert [(line["event"], line["log_level"]) for line in lines] == [("work.failed", "error")]


async def test_a_duty_that_ends_with_its_program_breaks_nothing():
    begun = asyncio.Event()

    async def work() -> None:
        try:
            begun.set()
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            return  # at once, and in order

    broken = asyncio.Event()
    with capture_logs() as lines:
        async with running(work(), failure="work.failed", broken=broken):
            await begun.wait()
    assert not broken.is_set()
    assert lines == []
