"""What workers complete and fail is added up by session, on whatever server and by whatever call it ends."""

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from tests.engine.parts import POLICY, WatchedDatabase
from tests.support.postgres.queue_under_test import (
    QueueUnderTest,
    failure,
    in_columns,
    new_job,
    picture,
    untold,
)
from thumbq_server.domain.job import Token
from thumbq_server.domain.operations import WorkerState
from thumbq_server.engine.queue import Queue
from thumbq_server.engine.upkeep.duties import ExpireLeases, RecordSignsOfLife
from thumbq_server.metrics.observer import Observer
from thumbq_server.storage import workers
from thumbq_server.storage.postgres.database import Database
from thumbq_server.storage.postgres.errors import Unavailable
from thumbq_server.storage.reads.operations import list_workers
from thumbq_server.storage.statements import Statement


class Server:
    """What a server ends, counts and writes down."""

    def __init__(self, database: Database) -> None:
        self.record = RecordSignsOfLife(database, 600)
        ends = self.record.ends
        self._queue = Queue(database, policy=POLICY, unary_lease_seconds=600, ends=ends)
        self.expire = ExpireLeases(database.lane(), POLICY, lambda _: None, grace=0, observer=Observer(), ends=ends)

    async def complete(self, *tokens: Token) -> None:
        await self._queue.complete([picture(token) for token in tokens])

    async def complete_columns(self, *tokens: Token) -> None:
        await self._queue.complete_columns(in_columns(picture(token) for token in tokens))

    async def fail(self, *tokens: Token) -> None:
        await self._queue.fail([failure(token) for token in tokens])

    async def release(self, *tokens: Token) -> None:
        await self._queue.release(tokens)


@pytest.fixture
async def server(watched: WatchedDatabase) -> Server:
    return Server(watched)


@pytest.fixture
async def other_server(database: Database) -> AsyncIterator[Server]:
    async with Database(database.dsn) as another:
        yield Server(another)


async def worker(others: QueueUnderTest, name: str, session_id: str = "") -> QueueUnderTest:
    """The queue as a worker has it that claims for this session."""
    return replace(others, worker=await workers.register(others.database, name, session_id))


@pytest.fixture
async def ada(others: QueueUnderTest) -> QueueUnderTest:
    """A worker on a stream."""
    return await worker(others, "ada", "monday")


@pytest.fixture
async def json(others: QueueUnderTest) -> QueueUnderTest:
    """A worker of unary calls."""
    return await worker(others, "json")


async def found(of: QueueUnderTest, name: str) -> WorkerState:
    """The only session of a worker, as it is listed."""
    [state] = [state for state in await list_workers(of.database) if state.worker_id == name]
    return state


async def counted(of: QueueUnderTest, name: str) -> tuple[int, int]:
    """The attempts that a worker has completed and failed."""
    state = await found(of, name)
    return state.completed, state.failed


async def test_each_way_to_complete_counts_for_the_session_that_held_the_lease(
    server: Server, ada: QueueUnderTest, json: QueueUnderTest
):
    await server.complete(*await ada.claimed(new_job(1)))
    await server.complete(*await ada.claimed(new_job(2), new_job(3)), *await json.claimed(new_job(4)))
    await server.complete_columns(*await ada.claimed(new_job(5)), *await json.claimed(new_job(6), new_job(7)))
    await server.complete(*await ada.claimed(new_job(8, file=1), new_job(8, file=2)))  # their model is contested
    await server.complete(*map(untold, await json.claimed(new_job(9))))
    await server.record()
    assert await counted(ada, "ada") == (6, 0)
    assert await counted(json, "json") == (4, 0)
    assert await counted(ada, "another") == (0, 0)


async def test_an_attempt_counts_as_failed_for_each_report_and_each_expiry(server: Server, ada: QueueUnderTest):
    retried, silent, done = await ada.claimed(new_job(1), new_job(2), new_job(3))
    await server.fail(retried)
    await ada.let_run_out(silent)
    assert await server.expire() == 1
    await server.complete(done)
    await server.record()
    assert await counted(ada, "ada") == (1, 2)


async def test_an_expiry_is_no_sign_of_life(server: Server, ada: QueueUnderTest):
    (token,) = await ada.claimed(new_job(1))
    await ada.let_run_out(token)
    await ada.sql("UPDATE workers SET last_seen_at = now() - interval '1 hour'")
    await server.expire()
    await server.record()
    state = await found(ada, "ada")
    assert (state.failed, state.gone) == (1, True)


async def test_a_report_that_is_repeated_or_stale_counts_nothing(server: Server, ada: QueueUnderTest):
    done, cancelled, released, unknown = [
        *await ada.claimed(new_job(1), new_job(2), new_job(3)),
        Token(2**40, 1),
    ]
    await server.complete(done, done)
    await ada.cancel(cancelled.job_id)
    await server.release(released)
    for report in (server.complete, server.complete_columns, server.fail):
        await report(done, cancelled, released, unknown)
    await server.record()
    assert await counted(ada, "ada") == (1, 0)


async def test_a_worker_that_connects_to_another_server_goes_on_counting(
    server: Server, other_server: Server, ada: QueueUnderTest
):
    await server.complete(*await ada.claimed(new_job(1), new_job(2)))
    (kept,) = await ada.claimed(new_job(3))
    again = await worker(ada, "ada", "monday")
    await other_server.complete(kept, *await again.claimed(new_job(4)))
    await other_server.record()
    await server.record()
    assert await counted(ada, "ada") == (4, 0)
    assert (await found(ada, "ada")).completed_per_minute == pytest.approx(4, rel=0.1)


async def test_what_was_written_down_is_not_written_again(
    server: Server, watched: WatchedDatabase, ada: QueueUnderTest
):
    await server.complete(*await ada.claimed(new_job(1)))
    await server.record()
    asked = len(watched.asked)
    await server.record()
    assert len(watched.asked) == asked
    assert await counted(ada, "ada") == (1, 0)


class LosesAnAnswer(Database):
    """A database of which one answer is lost after its commit."""

    lost: Statement | None = None

    async def fetch(self, statement: Statement | str, *arguments: object, **options: Any) -> list[Any]:
        rows = await super().fetch(statement, *arguments, **options)
        if statement is self.lost:
            self.lost = None
            raise Unavailable("the answer got lost")
        return rows


async def test_a_count_whose_answer_was_lost_is_not_added_twice_and_the_sign_of_life_is_repeated(
    ada: QueueUnderTest,
):
    async with LosesAnAnswer(ada.database.dsn) as database:
        server = Server(database)
        await server.complete(*await ada.claimed(new_job(1)))
        server.record.note(ada.worker)
        database.lost = workers.RECORD
        with pytest.raises(Unavailable):
            await server.record()
        await ada.sql("UPDATE workers SET last_seen_at = now() - interval '1 hour'")
        await server.record()
    state = await found(ada, "ada")
    assert (state.completed, state.gone) == (1, False)


async def pass_seconds(of: QueueUnderTest, seconds: float) -> None:
    """Let the workers have been counted so long ago."""
    await of.sql("UPDATE workers SET counted_at = now() - make_interval(secs => $1)", seconds)


async def works_for_minutes(server: Server, of: QueueUnderTest, completed: int, seconds: float) -> None:
    """Let the worker be heard of and complete as many every so many seconds."""
    for _ in range(round(600 / seconds)):
        await pass_seconds(of, seconds)
        server.record.note(of.worker)
        server.record.ends.completed[of.worker] += completed
        await server.record()


@pytest.mark.parametrize(("completed", "seconds", "rate"), [(6, 10, 36), (5, 5, 60), (3, 30, 6), (4, 120, 2)])
async def test_a_worker_that_always_completes_as_many_has_that_rate(
    server: Server, ada: QueueUnderTest, completed: int, seconds: float, rate: float
):
    await works_for_minutes(server, ada, completed, seconds)
    assert (await found(ada, "ada")).completed_per_minute == pytest.approx(rate, rel=0.05)


async def test_a_worker_that_completes_nothing_any_more_has_a_tenth_of_its_rate_after_two_minutes(
    server: Server, ada: QueueUnderTest
):
    await works_for_minutes(server, ada, 10, 10)
    for _ in range(12):
        await pass_seconds(ada, 10)
        server.record.note(ada.worker)
        await server.record()
    assert (await found(ada, "ada")).completed_per_minute == pytest.approx(60 * (5 / 6) ** 12, rel=0.05)


async def test_a_job_that_took_five_minutes_counts_as_a_fifth_a_minute(server: Server, json: QueueUnderTest):
    (token,) = await json.claimed(new_job(1))
    await json.sql("UPDATE workers SET first_seen_at = now() - interval '5 minutes'")
    await server.complete(token)
    await server.record()
    assert (await found(json, "json")).completed_per_minute == pytest.approx(0.2, rel=0.05)


async def test_a_worker_that_nobody_has_heard_of_for_a_minute_has_no_rate(server: Server, ada: QueueUnderTest):
    await works_for_minutes(server, ada, 6, 10)
    await pass_seconds(ada, 61)
    state = await found(ada, "ada")
    assert (state.completed, state.completed_per_minute) == (360, 0)
