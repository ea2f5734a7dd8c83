"""Group commit: what arrives while a statement is in flight goes with the next one."""

import asyncio
from collections.abc import AsyncIterator, Sequence

import asyncpg
import pytest

from tests.engine.parts import WatchedLane, until
from tests.support.conditions import at_once
from thumbq_server.engine.batcher import Batcher
from thumbq_server.storage.postgres.database import Database
from thumbq_server.storage.postgres.errors import Unavailable

# 0 is what PostgreSQL chokes on
DIVIDE = "SELECT 840 / n AS quotient FROM unnest($1::int[]) WITH ORDINALITY AS i (n, place) ORDER BY place"


class Division:
    """A statement on a real lane, in batches."""

    def __init__(self, lane: WatchedLane, limit: int) -> None:
        self.lane = lane
        self.batches: list[list[int]] = []
        self.batcher = Batcher(self._run, limit)
        self.submit = self.batcher

    async def _run(self, items: Sequence[int]) -> Sequence[int]:
        self.batches.append(list(items))
        return [row["quotient"] for row in await self.lane.fetch(DIVIDE, items)]

    async def in_flight(self, *items: int) -> "asyncio.Task[Sequence[int]]":
        """A submission whose statement is committed but not answered: the lane is held."""
        task = asyncio.create_task(self.submit(items))
        await until(lambda: self.lane.committed == len(self.batches) == 1)
        return task

    async def waiting(self, *items: int) -> "asyncio.Task[Sequence[int]]":
        """A submission that waits for the statement in flight."""
        task = asyncio.create_task(self.submit(items))
        await asyncio.sleep(0)
        assert not task.done()
        return task


@pytest.fixture
async def lane(database: Database) -> AsyncIterator[WatchedLane]:
    lane = WatchedLane(database.dsn)
    yield lane
    await lane.close()


@pytest.fixture
def division(lane: WatchedLane) -> Division:
    return Division(lane, limit=6)


async def test_a_request_to_an_idle_batcher_is_a_batch_of_its_own(division: Division):
    assert await division.submit([1, 2]) == [840, 420]
    assert await division.submit([3]) == [280]
    assert division.batches == [[1, 2], [3]]


async def test_no_items_need_no_statement(division: Division):
    assert await division.submit([]) == []
    assert division.lane.begun == 0


async def test_calls_that_arrive_while_a_statement_is_in_flight_are_the_next_batch(division: Division):
    with division.lane.held():
        first = await division.in_flight(1)
        rest = [await division.waiting(2, 3), await division.waiting(4), await division.waiting(5, 6, 7)]
        assert division.batches == [[1]]
    assert await first == [840]
    assert await at_once(*[asyncio.wait_for(task, 30) for task in rest]) == [[420, 280], [210], [168, 140, 120]]
    assert division.batches == [[1], [2, 3, 4, 5, 6, 7]]


async def test_one_statement_is_in_flight_at_a_time(division: Division):
    with division.lane.held():
        first = await division.in_flight(1)
        second = await division.waiting(2)
        assert division.lane.begun == 1
    assert [await first, await second] == [[840], [420]]


async def test_two_statements_are_in_flight_at_a_time_if_allowed():
    begun: list[list[int]] = []
    free = asyncio.Event()

    async def run(items: Sequence[int]) -> Sequence[int]:
        begun.append(list(items))
        await free.wait()
        return items

    batcher = Batcher(run, at_once=2)
    tasks = []
    for number in range(1, 6):
        tasks.append(asyncio.create_task(batcher([number])))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    assert begun == [[1], [2]]
    free.set()
    assert await asyncio.gather(*tasks) == [[1], [2], [3], [4], [5]]
    assert begun == [[1], [2], [3, 4, 5]]
    assert await batcher([6]) == [6]
    await batcher.drained()


async def test_a_batch_is_bounded_and_never_splits_a_submission(division: Division):
    with division.lane.held():
        first = await division.in_flight(1)
        rest = [await division.waiting(*items) for items in [(2, 2), (3, 3, 3), (4, 4), (5,) * 9, (6,) * 6, (7,), (8,)]]
    await at_once(*[asyncio.wait_for(task, 30) for task in (first, *rest)])
    assert division.batches == [[1], [2, 2, 3, 3, 3], [4, 4], [5] * 9, [6] * 6, [7, 8]]


async def test_every_caller_gets_its_own_results_under_load(division: Division):
    async def submit(start: int) -> None:
        for n in range(start, start + 20):
            assert await division.submit([n, n + 1]) == [840 // n, 840 // (n + 1)]

    await at_once(*[submit(start) for start in range(1, 200, 20)])
    assert len(division.batches) < 200


async def test_a_call_that_postgresql_chokes_on_does_not_fail_its_neighbours(division: Division):
    with division.lane.held():
        first = await division.in_flight(1)
        before, poison, after = [await division.waiting(*items) for items in [(2,), (3, 0), (4, 5)]]
    assert [await first, await before, await after] == [[840], [420], [210, 168]]
    with pytest.raises(asyncpg.DivisionByZeroError):
        await poison
    assert division.batches == [[1], [2, 3, 0, 4, 5], [2], [3, 0], [4, 5]]
    assert await division.submit([6]) == [140]


@pytest.mark.sessions("ends a session")
async def test_when_postgresql_is_away_all_callers_in_the_batch_learn_it_and_the_next_batch_works(
    division: Division, database: Database
):
    with division.lane.held():
        first = await division.in_flight(1)
        rest = [await division.waiting(2), await division.waiting(3, 4)]
        division.lane._dsn = "postgresql://127.0.0.1:1/thumbq"
        await database.fetch("SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE query = $1", DIVIDE)
    assert await first == [840], "it was committed before"
    for task in rest:
        with pytest.raises(Unavailable):
            await task
    division.lane._dsn = database.dsn
    assert division.batches == [[1], [2, 3, 4]], "nobody is tried alone"
    assert await division.submit([5]) == [168]


async def test_a_caller_that_gives_up_in_flight_harms_no_other(division: Division):
    with division.lane.held():
        impatient = await division.in_flight(1)
        neighbour = await division.waiting(2)
        impatient.cancel()
        with pytest.raises(asyncio.CancelledError):
            await impatient
    assert await neighbour == [420]
    assert division.batches == [[1], [2]]


async def test_a_caller_that_gives_up_while_it_waits_harms_no_other(division: Division):
    with division.lane.held():
        first = await division.in_flight(1)
        before, impatient, after = [await division.waiting(*items) for items in [(2,), (3, 4), (5,)]]
        impatient.cancel()
        with pytest.raises(asyncio.CancelledError):
            await impatient
    assert [await first, await before, await after] == [[840], [420], [168]]


async def test_a_caller_that_gives_up_does_not_hide_the_errors_of_the_others(division: Division):
    with division.lane.held():
        first = await division.in_flight(1)
        impatient, poison = await division.waiting(2), await division.waiting(0)
        impatient.cancel()
    assert await first == [840]
    with pytest.raises(asyncpg.DivisionByZeroError):
        await poison


async def test_drained_waits_for_the_batch_in_flight_and_for_the_waiting_calls(division: Division):
    with division.lane.held():
        tasks = [await division.in_flight(1), await division.waiting(2)]
        drained = asyncio.create_task(division.batcher.drained())
        await asyncio.sleep(0)
        assert not drained.done()
    await asyncio.wait_for(drained, 30)
    assert division.batches == [[1], [2]]
    assert await at_once(*[asyncio.wait_for(task, 30) for task in tasks]) == [[840], [420]]


async def test_an_idle_batcher_is_drained(division: Division):
    await asyncio.wait_for(division.batcher.drained(), 30)
    await division.submit([1])
    await asyncio.wait_for(division.batcher.drained(), 30)
