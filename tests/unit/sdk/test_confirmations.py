"""Confirmations of jobs whose handlers run on the loop of another thread."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

import pytest

from tests.support.service.slots import PICTURE, jobs
from tests.support.waiting import eventually
from thumbq import Job, Thumbnail
from thumbq.outbox import Outbox
from thumbq.working import confirmations
from thumbq.working.confirmations import Confirmations
from thumbq.working.handler import AsyncHandler
from thumbq.working.ledger import Ledger
from thumbq.working.slots import Slots

NEVER = 600.0


class LookedAt(Ledger):
    """A ledger that says when it is first asked to call back once the handlers have begun."""

    def __init__(self, outbox: Outbox, wake: asyncio.Event, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(outbox, wake, loop)
        self.asked = asyncio.Event()

    def when_begun(self, call: Callable[[Sequence[Job]], None], jobs: Sequence[Job]) -> None:
        super().when_begun(call, jobs)
        self.asked.set()


class Network:
    """What a stream has, with handlers on the loop of another thread, which a test can block."""

    def __init__(self) -> None:
        self.ledger = LookedAt(Outbox(asyncio.Event()), asyncio.Event(), asyncio.get_running_loop())
        self.due = asyncio.Event()
        self._confirmations = Confirmations(self.ledger, self.due.set)
        self.handlers = asyncio.new_event_loop()
        self.unblocked = threading.Event()

    def blocked(self) -> None:
        self.handlers.call_soon_threadsafe(self.unblocked.wait, 60)

    def receives(self, *numbers: int) -> None:
        message = list(jobs(*numbers).values())
        self.ledger.accept(message)
        self._confirmations.received(message)

    async def handlers_have_begun(self) -> None:
        begun = asyncio.Event()
        self.ledger.when_begun(lambda _: begun.set(), [])
        async with asyncio.timeout(60):
            await begun.wait()


@asynccontextmanager
async def network_with(handler: AsyncHandler) -> AsyncIterator[Network]:
    network = Network()

    async def begin() -> Slots:
        return Slots(handler, 1, network.ledger.handover)

    thread = threading.Thread(target=network.handlers.run_forever)
    thread.start()
    slots = await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(begin(), network.handlers))
    network.ledger.connect(slots, network.handlers)
    try:
        yield network
    finally:
        network.unblocked.set()
        await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(_end(slots), network.handlers))
        network.handlers.call_soon_threadsafe(network.handlers.stop)
        await asyncio.to_thread(thread.join, 60)
        network.handlers.close()


async def _end(slots: Slots) -> None:
    slots.abort()
    await slots.finished()
    await slots.end()


@pytest.fixture
def begin_within(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    return lambda seconds: monkeypatch.setattr(confirmations, "_BEGIN_WITHIN", seconds)


async def quick(job: Job) -> Thumbnail:
    return PICTURE


async def endless(job: Job) -> Thumbnail:
    await asyncio.Event().wait()
    return PICTURE


async def test_a_job_that_waited_for_the_handlers_and_ended_at_once_is_not_confirmed(begin_within):
    begin_within(NEVER)
    async with network_with(quick) as network:
        network.blocked()
        network.receives(1)
        async with asyncio.timeout(60):
            await network.ledger.asked.wait()  # the first look
        network.unblocked.set()

        async def ended() -> bool:
            return not network.ledger.held

        await eventually(ended, 60)
        await network.handlers_have_begun()
        assert not network.due.is_set()

        # The next message is looked at as well.
        network.ledger.held.update(jobs(2))
        network._confirmations.received(list(jobs(2).values()))
        async with asyncio.timeout(60):
            await network.due.wait()


async def test_a_job_whose_handler_goes_on_is_confirmed_once_it_has_begun(begin_within):
    begin_within(NEVER)
    async with network_with(endless) as network, asyncio.timeout(60):
        network.receives(1, 2)
        await network.due.wait()


async def test_a_job_behind_a_stuck_loop_is_confirmed(begin_within):
    begin_within(0.0)
    async with network_with(quick) as network, asyncio.timeout(60):
        network.blocked()
        network.receives(1)
        await network.due.wait()
        assert network.ledger.held
