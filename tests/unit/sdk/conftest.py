"""Slots that end with the test, and the results that they report."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest

from tests.support.service.slots import Reports, Start
from thumbq.working.handler import AsyncHandler
from thumbq.working.slots import Slots


@pytest.fixture
def reports() -> Reports:
    return Reports()


@pytest.fixture
async def start(reports: Reports) -> AsyncIterator[Start]:
    async with AsyncExitStack() as stack:

        def start(handler: AsyncHandler, concurrency: int = 1) -> Slots:
            slots = Slots(handler, concurrency, reports.outbox)

            async def end() -> None:
                slots.abort()
                await slots.end()

            stack.push_async_callback(end)
            return slots

        yield start
