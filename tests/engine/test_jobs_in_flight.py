"""Every caller has a bounded number of jobs in flight, however they end."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from types import SimpleNamespace
from typing import Any

import pytest

from tests.engine.parts import POLICY, WatchedDatabase, running
from tests.engine.test_sessions import Peer
from tests.support.postgres.queue_under_test import QueueUnderTest, failure, new_job, picture
from tests.support.waiting import eventually
from thumbq_runtime.limits.bounds import TooMany
from thumbq_runtime.limits.rates import Kind
from thumbq_server.domain.columns import Report
from thumbq_server.domain.job import Token
from thumbq_server.engine.in_flight import callers
from thumbq_server.engine.queue import Queue
from thumbq_server.engine.sessions.registry import Hello, Sessions
from thumbq_server.engine.sessions.session import SessionTimes
from thumbq_server.storage.postgres.errors import Unavailable
from thumbq_server.storage.transitions.cancel import cancel

MOST = 5
CALLERS = ("a", "b")


@pytest.fixture
def refused() -> list[tuple[Kind, str]]:
    return []


@pytest.fixture
async def queue(watched: WatchedDatabase, refused: list[tuple[Kind, str]]) -> AsyncIterator[Queue]:
    queue = Queue(watched, policy=POLICY, unary_lease_seconds=600, most_in_flight=MOST)
    queue.in_flight.on_refused = lambda *who: refused.append(who)
    async with running(queue.dispatchers.run()), running(queue.in_flight.run()):
        yield queue
    await queue.drained()


@pytest.fixture
def sessions(watched: WatchedDatabase, queue: Queue) -> Sessions:
    return Sessions(watched, queue, SessionTimes())


async def leases(others: QueueUnderTest, name: str = "%") -> list[Token]:
    """The leases of workers with such a name, of whatever session."""
    sql = "SELECT job_id, lease_seq FROM leases JOIN workers w ON w.id = session WHERE worker_id LIKE $1"
    return [Token(*row) for row in await others.database.fetch(sql, name)]


async def test_a_stream_gets_as_many_as_its_caller_may_have_and_the_next_for_each_that_ends(
    queue: Queue, sessions: Sessions, others: QueueUnderTest, refused: list[tuple[Kind, str]]
):
    await others.enqueue(*[new_job(model) for model in range(1, 21)])
    async with (
        sessions.open(Hello("a-1", "", "", {}), Peer(), "a") as first,
        sessions.open(Hello("a-2", "", "", {}), Peer(), "a") as second,
        sessions.open(Hello("b-1", "", "", {}), Peer(), "b") as another,
    ):
        first.add_credits(20)
        second.add_credits(20)

        async def has(count: int) -> bool:
            return len(await leases(others, "a-%")) == count

        await eventually(lambda: has(MOST))
        await eventually(lambda: asyncio.sleep(0, refused == [(Kind.JOBS_IN_FLIGHT, "a")]))
        another.add_credits(4)
        await eventually(lambda: _count(others, "b-%", 4))
        assert len(await leases(others, "a-%")) == MOST, "the jobs of another caller are its own"

        done, failed, cancelled, *kept = await leases(others, "a-%")
        assert await first.report(Report([picture(done)], [failure(failed, retryable=False)], [])) == []
        await cancel(queue.extend_lane, [cancelled.job_id])
        await others.let_run_out(kept[0])
        await others.expire()

        async def others_came() -> bool:
            return len(set(await leases(others, "a-%")) - {done, failed, cancelled, *kept}) == 4

        await eventually(others_came)
        assert len(await leases(others, "a-%")) == MOST


async def _count(others: QueueUnderTest, name: str, count: int) -> bool:
    return len(await leases(others, name)) == count


async def test_a_call_gets_what_is_left_and_then_a_refusal(
    queue: Queue, others: QueueUnderTest, refused: list[tuple[Kind, str]]
):
    await others.enqueue(*[new_job(model) for model in range(1, 9)])
    claimed = await queue.dequeue("js-1", 3, 0, (), "a")
    assert len(await queue.dequeue("js-2", 3, 0, (), "a")) == 2
    with pytest.raises(TooMany, match=r"5 jobs in flight, as many as it may have \(THUMBQ_JOBS_IN_FLIGHT_OF_ADDRESS"):
        await queue.dequeue("js-3", 1, 0, (), "a")
    assert (Kind.JOBS_IN_FLIGHT, "a") in refused
    await others.complete(claimed[0].token)  # another server commits it
    assert len(await queue.dequeue("js-1", 3, 0, (), "a")) == 1
    assert len(await queue.dequeue("js-1", 3, 0, (), "b")) == 2


async def test_after_a_database_that_was_frozen_a_caller_at_its_bound_does_not_wait(
    monkeypatch: pytest.MonkeyPatch, queue: Queue, watched: WatchedDatabase, others: QueueUnderTest
):
    """Looks may take a tenth of the time. Those that failed after half a minute each are none."""
    clock = SimpleNamespace(now=1000.0)
    monkeypatch.setattr(callers, "time", SimpleNamespace(monotonic=lambda: clock.now))
    await others.enqueue(*[new_job(model) for model in range(1, MOST + 2)])
    claimed = await queue.dequeue("js", MOST, 0, (), "a")

    async def frozen(*_asked: object) -> Any:
        clock.now += 34
        raise Unavailable("no answer")

    with monkeypatch.context() as freezing:
        freezing.setattr(watched, "fetch", frozen)
        with pytest.raises(Unavailable):
            await queue.dequeue("js", 1, 0, (), "a")
    await others.complete(claimed[0].token)
    async with asyncio.timeout(30):
        assert len(await queue.dequeue("js", 1, 0, (), "a")) == 1


class Crowd:
    """Workers of two callers, who come, claim, report and vanish by chance."""

    def __init__(self, queue: Queue, sessions: Sessions, others: QueueUnderTest, chance: random.Random) -> None:
        self._queue = queue
        self._sessions = sessions
        self._others = others
        self._chance = chance
        self._open: list[AsyncExitStack] = []

    async def step(self) -> None:
        """Do one of the things that happen to jobs, and see that no caller has too many."""
        do = self._chance.choice([self._enqueue, self._open_stream, self._call, self._call, self._vanish, self._end])
        await do()
        for caller in CALLERS:
            assert len(await leases(self._others, f"{caller}-%")) <= MOST

    async def leave(self) -> None:
        """Let all streams end."""
        while self._open:
            await self._open.pop().aclose()

    async def _enqueue(self) -> None:
        await self._queue.enqueue([new_job(self._chance.randrange(1, 40)) for _ in range(self._chance.randrange(1, 6))])

    async def _open_stream(self) -> None:
        caller, number = self._chance.choice(CALLERS), self._chance.randrange(3)
        stack = AsyncExitStack()
        # A session of the same name takes over from an older one, which has to end first.
        name = f"{number}-{len(self._open)}-{self._chance.random()}"
        session = await stack.enter_async_context(
            self._sessions.open(Hello(f"{caller}-{number}", name, "", {}), Peer(), caller)
        )
        session.add_credits(self._chance.randrange(1, 10))
        self._open.append(stack)

    async def _call(self) -> None:
        caller = self._chance.choice(CALLERS)
        call = asyncio.create_task(
            self._queue.dequeue(
                f"{caller}-js", self._chance.randrange(1, 8), self._chance.choice([0, 0.01]), (), caller
            )
        )
        if self._chance.random() < 0.3:
            await asyncio.sleep(self._chance.random() / 100)
            call.cancel()
        await asyncio.gather(call, return_exceptions=True)

    async def _vanish(self) -> None:
        if self._open:
            await self._open.pop(self._chance.randrange(len(self._open))).aclose()

    async def _end(self) -> None:
        held = await leases(self._others)
        self._chance.shuffle(held)
        held = held[: self._chance.randrange(1, 5)]
        match self._chance.randrange(6):
            case 0:
                await self._queue.report(Report([picture(token) for token in held], [], []))
            case 1:
                await self._queue.report(Report([], [failure(token) for token in held], []))
            case 2:
                self._queue.release_soon(held)
            case 3:
                await cancel(self._queue.extend_lane, [token.job_id for token in held])
            case 4:
                await self._others.complete(*held)
            case 5:
                await self._others.let_run_out(*held)
                await self._others.expire()


@pytest.mark.parametrize("seed", range(3))
async def test_whatever_happens_no_caller_has_too_many_and_in_the_end_none_is_counted(
    queue: Queue, sessions: Sessions, others: QueueUnderTest, seed: int
):
    crowd = Crowd(queue, sessions, others, random.Random(seed))
    for _ in range(60):
        await crowd.step()
    await crowd.leave()

    async def nothing_is_counted() -> bool:
        await others.let_run_out(*await leases(others))
        await others.expire()
        await queue.in_flight._looked()
        return len(queue.in_flight) == 0

    await eventually(nothing_is_counted)
    assert not queue.in_flight._holders
