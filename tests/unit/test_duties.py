"""The duties of a program run as long as it does."""

import asyncio
import gc

from thumbq_runtime.duties import running


async def test_a_program_that_stops_at_once_ends_without_a_warning():
    """Warnings are errors here: this fails when the coroutine is dropped without a start."""

    async def work() -> None:
        await asyncio.sleep(60)

    async with running(work(), failure="work.failed", broken=asyncio.Event()):
        pass
    gc.collect()
