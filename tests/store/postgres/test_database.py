"""Connections, while PostgreSQL hangs up, is away, or is slow."""

import asyncio
import os
import signal
import time
from functools import partial

import asyncpg
import pytest

from tests.support.conditions import until
from tests.support.postgres.queue_under_test import new_job
from thumbq_server.storage.fragments import columns
from thumbq_server.storage.postgres import database as database_module
from thumbq_server.storage.postgres.database import Database
from thumbq_server.storage.postgres.errors import Unavailable
from thumbq_server.storage.postgres.patience import broken_off_after
from thumbq_server.storage.postgres.session_settings import connect

OWN_PID = "SELECT pg_backend_pid() AS pid"
SLEEP = "SELECT pg_sleep(30)"

looks_at_sessions = pytest.mark.sessions("knows a connection by the process of its session")


@pytest.fixture
async def own(database):
    """A database whose connections a test may break."""
    async with Database(database.dsn, pool_size=2) as own:
        yield own


@pytest.fixture
async def hasty(database):
    """A database that gives a statement little time. A busy machine may need more for any statement."""
    async with Database(database.dsn, statement_timeout=0.2) as hasty:
        yield hasty


async def pid(lane_or_database):
    return (await lane_or_database.fetch(OWN_PID))[0]["pid"]


async def terminate(database, process):
    """End the connection of that process, and wait until PostgreSQL has forgotten it."""
    await database.fetch("SELECT pg_terminate_backend($1, 10000)", process)


@looks_at_sessions
async def test_a_lane_keeps_its_connection(own):
    lane = own.lane()
    assert await pid(lane) == await pid(lane)
    assert await pid(own.lane()) != await pid(lane)


@looks_at_sessions
async def test_a_lane_whose_connection_was_ended_takes_a_new_one(own, database):
    lane = own.lane()
    old = await pid(lane)
    await terminate(database, old)
    await until(lambda: reaches(lane))
    assert await pid(lane) != old


async def reaches(lane):
    try:
        return bool(await lane.fetch("SELECT 1"))
    except Unavailable:
        return False


@looks_at_sessions
async def test_a_statement_whose_connection_is_ended_under_way_is_unavailable_and_the_next_one_works(own, database):
    lane = Database(database.dsn).lane()
    try:
        process = await pid(lane)
        sleeping = asyncio.create_task(lane.fetch(SLEEP))
        await until(lambda: is_active(database, process))
        await terminate(database, process)
        with pytest.raises(Unavailable):
            await sleeping
        assert await lane.fetch("SELECT 1")
    finally:
        await lane.close()


async def is_active(database, process):
    return bool(await database.fetch("SELECT FROM pg_stat_activity WHERE pid = $1 AND state = 'active'", process))


@looks_at_sessions
async def test_the_pool_replaces_connections_that_were_ended(own, database):
    await terminate(database, await pid(own))
    await until(lambda: reaches(own))


async def test_a_statement_beyond_its_time_is_unavailable_and_the_next_one_works(hasty):
    for where in (hasty, hasty.lane()):
        await until(partial(reaches, where))
        with pytest.raises(Unavailable, match="timeout"):
            await where.fetch(SLEEP)
        await until(partial(reaches, where))


async def test_a_caller_who_gives_up_leaves_a_lane_that_works(own):
    lane = Database(own.dsn).lane()
    try:
        call = asyncio.create_task(lane.fetch(SLEEP))
        await until(lambda: own.fetch("SELECT FROM pg_stat_activity WHERE query = $1 AND state = 'active'", SLEEP))
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        assert await lane.fetch("SELECT 1")
    finally:
        await lane.close()


async def test_a_lane_that_is_closed_while_it_connects_keeps_no_connection(own):
    lane = Database(own.dsn).lane()
    call = asyncio.create_task(lane.fetch("SELECT 1"))
    await asyncio.sleep(0)
    await lane.close()
    with pytest.raises(Unavailable):
        await call


@looks_at_sessions
@pytest.mark.parametrize("lane", [False, True])
async def test_a_cancellation_stays_one_when_postgresql_does_not_answer_it(database, monkeypatch, lane):
    monkeypatch.setattr(database_module, "CONNECT_TIMEOUT", 0.5)
    async with Database(database.dsn, pool_size=1) as own:
        where = own.lane() if lane else own
        backend = await pid(where)
        call = asyncio.create_task(where.fetch(SLEEP))
        await until(
            lambda: database.fetch("SELECT FROM pg_stat_activity WHERE pid = $1 AND query = $2", backend, SLEEP)
        )
        os.kill(backend, signal.SIGSTOP)
        try:
            call.cancel()
            await asyncio.wait([call], timeout=30)
            assert call.cancelled()
        finally:
            os.kill(backend, signal.SIGCONT)


@pytest.mark.parametrize(
    "dsn",
    ["postgresql://127.0.0.1:1/thumbq", "postgresql:///thumbq?host=/nonexistent"],
)
async def test_postgresql_that_is_away_is_unavailable(dsn):
    with pytest.raises(Unavailable):
        await Database(dsn).lane().fetch("SELECT 1")
    with pytest.raises(Unavailable):
        async with Database(dsn):
            pass


async def test_a_database_that_does_not_exist_is_unavailable(database):
    lane = Database(database.dsn.replace("thumbq_store", "thumbq_missing")).lane()
    with pytest.raises(Unavailable, match="does not exist"):
        await lane.fetch("SELECT 1")


async def test_a_database_that_was_not_opened_is_unavailable(database):
    with pytest.raises(Unavailable):
        await Database(database.dsn).fetch("SELECT 1")


async def test_a_statement_that_is_wrong_is_not_taken_for_an_absence(own):
    for where in (own, own.lane()):
        with pytest.raises(asyncpg.UndefinedTableError):
            await where.fetch("SELECT FROM nowhere")
        with pytest.raises(asyncpg.DivisionByZeroError):
            await where.fetch("SELECT 1 / 0")


async def test_a_pause_ends_when_another_part_reaches_postgresql(own):
    pause = asyncio.create_task(own.history.comeback.pause(3600))
    await asyncio.sleep(0)
    await own.lane().fetch("SELECT 1")
    async with asyncio.timeout(30):
        await pause


async def test_work_that_outlasts_its_connection_is_broken_off_without_a_complaint(own):
    """A busy process may get to the time limit first, and then to the end of the work."""
    loop, complaints = asyncio.get_running_loop(), []
    loop.set_exception_handler(lambda _loop, context: complaints.append(context))

    async def outlast(_connection: object) -> None:
        own.drop_connections()
        limit_is_over = asyncio.Event()
        loop.call_later(0.01, limit_is_over.set)
        await limit_is_over.wait()

    await own.run(lambda connection: broken_off_after(0, connection, outlast))
    loop.set_exception_handler(None)
    assert complaints == []


async def test_statements_of_one_lane_take_turns(own):
    lane = own.lane()
    answers = await asyncio.gather(*[lane.fetch("SELECT $1::int AS n", n) for n in range(50)])
    assert [rows[0]["n"] for rows in answers] == list(range(50))


@looks_at_sessions
async def test_a_database_closes_at_once_though_a_statement_is_under_way(database):
    async with Database(database.dsn) as own:
        lane = own.lane()
        process = await pid(lane)
        sleeping = asyncio.create_task(lane.fetch(SLEEP))
        await until(lambda: is_active(database, process))
        started = time.monotonic()
    assert time.monotonic() - started < 20  # the statement would take 30
    with pytest.raises(Unavailable):
        await sleeping
    await until(lambda: is_gone(database, process))


async def is_gone(database, process):
    return not await database.fetch("SELECT FROM pg_stat_activity WHERE pid = $1", process)


@looks_at_sessions
async def test_a_closed_database_leaves_no_connection(database):
    async with Database(database.dsn) as own:
        processes = [await pid(own), await pid(own.lane())]
    for process in processes:
        await until(partial(is_gone, database, process))


async def test_every_session_is_set_for_the_statements_here(database):
    settings = "current_setting('jit') AS jit, current_setting('TimeZone') AS zone, current_setting"
    async with Database(database.dsn, statement_timeout=47.5) as own:
        for where in (own, own.lane()):
            (row,) = await where.fetch(f"SELECT {settings}('statement_timeout') AS timeout")
            assert tuple(row) == ("off", "UTC", "47500ms")


async def test_a_server_that_goes_silent_inside_a_transaction_keeps_its_locks_for_a_short_time_only(queue):
    """After a power cut, or with a frozen network, nothing tells PostgreSQL that the other end is gone."""
    silent = await connect(queue.database.dsn, statement_timeout=2)
    try:
        await silent.execute("BEGIN;")
        await silent.execute("UPDATE queue_head SET seq = seq")  # every announcement waits for this lock
        await queue.enqueue(new_job(1))
    finally:
        silent.terminate()


def test_rows_become_columns():
    assert columns([(1, "a"), (2, "b")], 2) == [(1, 2), ("a", "b")]
    assert columns([], 3) == [(), (), ()]
