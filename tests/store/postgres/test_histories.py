"""What a server takes for another history of the database, and that several servers agree on it."""

import asyncio
from contextlib import suppress
from functools import partial
from typing import Any

import asyncpg
import pytest
from structlog.testing import capture_logs

from tests.support.postgres.queue_under_test import new_job
from tests.support.waiting import eventually
from thumbq_server.storage.postgres.database import Database
from thumbq_server.storage.postgres.errors import AWAY, Unavailable
from thumbq_server.storage.postgres.history import History
from thumbq_server.storage.postgres.session_settings import connect
from thumbq_server.storage.transitions.claim import ClaimRequest, claim
from thumbq_server.storage.transitions.enqueue import enqueue, enqueue_and_claim
from thumbq_server.storage.workers import register

OWN_PROCESS = "SELECT pg_backend_pid()"

GOES_BACK = {
    "the beat": "UPDATE queue_head SET beat = 1",
    "the head of the log": "UPDATE queue_head SET seq = 3",
    "another cluster, timeline, database or table": "UPDATE queue_head SET identity = 'another'",
}


@pytest.mark.parametrize("change", GOES_BACK.values(), ids=GOES_BACK)
async def test_two_servers_find_the_same_new_history_once(database_url, change):
    async with Database(database_url) as first, Database(database_url) as second, Database(database_url) as other:
        await other.fetch("UPDATE queue_head SET seq = 10")
        changes: list[str] = []
        for server, name in ((first, "first"), (second, "second")):
            server.history.on_change(partial(changes.append, name))
            for _ in range(5):
                await server.beat()
        before = first.history.epoch
        assert second.history.epoch == before
        await other.fetch(change)
        for _ in range(3):
            await first.beat()
            await second.beat()
        assert first.history.epoch == second.history.epoch != before
        assert sorted(changes) == ["first", "second"]


async def test_a_restart_of_the_server_or_more_commits_are_no_new_history(database_url):
    async with Database(database_url) as first:
        await first.beat()
        before = first.history.epoch
        await first.fetch("UPDATE queue_head SET seq = seq + 1000")
        first.drop_connections()
        await first.beat()
        assert first.history.epoch == before
    async with Database(database_url) as second:
        await second.beat()
        assert second.history.epoch == before


async def test_what_was_asked_for_in_the_old_history_does_not_run_in_the_new_one(database_url):
    async with Database(database_url) as database, Database(database_url) as other:
        await database.beat()
        lane = database.lane()
        await other.fetch("UPDATE queue_head SET identity = 'another'")
        with pytest.raises(Unavailable, match="another history"):
            await lane.fetch("UPDATE queue_head SET completed = 7")
        assert (await other.fetch("SELECT completed FROM queue_head"))[0]["completed"] == 0
        await lane.fetch("UPDATE queue_head SET completed = 7")


async def by_a_claim(server: Database) -> None:
    lane = server.lane()
    await enqueue(lane, [new_job(1)])
    assert await claim(lane, await one_credit(server))


async def by_an_enqueue(server: Database) -> None:
    _, claimed = await enqueue_and_claim(server.lane(), [new_job(1)], await one_credit(server))
    assert claimed


async def by_an_enqueue_of_several(server: Database) -> None:
    _, claimed = await enqueue_and_claim(server.lane(), [new_job(1), new_job(2)], await one_credit(server))
    assert claimed


async def one_credit(server: Database) -> ClaimRequest:
    return ClaimRequest([await register(server, "w1")], [30])


@pytest.mark.parametrize("take", [by_a_claim, by_an_enqueue, by_an_enqueue_of_several])
async def test_numbers_of_claims_that_would_be_given_again_are_another_history(take, database_url):
    """A copied data folder is put back before the next beat; no one has read what was written since the copy."""
    async with Database(database_url) as server, Database(database_url) as other:
        await server.beat()
        before = server.history.epoch
        (copy,) = await other.fetch("SELECT last_value, is_called FROM claim_seq")
        await take(server)
        await other.fetch("SELECT setval('claim_seq', $1, $2)", *copy)
        server.drop_connections()
        with suppress(Unavailable):  # the beat was asked for in the history that is over
            await server.beat()
        assert server.history.epoch != before


@pytest.mark.parametrize("count", [1, 3])
async def test_ids_of_jobs_that_would_be_given_again_are_another_history(count, database_url):
    """A producer has the ids of jobs that the copy does not have. No one has claimed or read anything since."""
    async with Database(database_url) as server, Database(database_url) as other:
        await server.beat()
        before = server.history.epoch
        (copy,) = await other.fetch("SELECT last_value, is_called FROM jobs_id_seq")
        await enqueue(server.lane(), [new_job(number) for number in range(1, count + 1)])
        await other.fetch("SELECT setval('jobs_id_seq', $1, $2)", *copy)
        server.drop_connections()
        with suppress(Unavailable):  # the beat was asked for in the history that is over
            await server.beat()
        assert server.history.epoch != before


@pytest.mark.parametrize("sequence", ["claim_seq", "jobs_id_seq"])
async def test_a_number_that_a_crash_takes_back_is_no_other_history(sequence, database_url):
    """A new connection saw it while the transaction that took it was under way, and that never came to an end."""
    history = History()
    before_it, after_it, other = [await connect(database_url, 10) for _ in range(3)]
    await history.beat(before_it)
    epoch = history.epoch
    [copy] = await other.fetch(f"SELECT last_value, is_called FROM {sequence}")
    async with other.transaction():
        await other.fetchval(f"SELECT nextval('{sequence}')")
        await history.look(before_it)
    await other.fetchval(f"SELECT setval('{sequence}', $1, $2)", *copy)
    await history.look(after_it)
    await history.beat(after_it)
    assert history.epoch == epoch
    for connection in (before_it, after_it, other):
        await connection.close()


@pytest.mark.parametrize("sequence", ["claim_seq", "jobs_id_seq"])
async def test_a_number_that_another_server_gave_counts_from_the_next_beat_on(sequence, database_url):
    async with Database(database_url) as server, Database(database_url) as other:
        await server.beat()
        before = server.history.epoch
        [copy] = await other.fetch(f"SELECT last_value, is_called FROM {sequence}")
        await other.fetch(f"SELECT nextval('{sequence}')")
        await server.beat()
        await other.fetch(f"SELECT setval('{sequence}', $1, $2)", *copy)
        await server.beat()
        assert server.history.epoch != before


async def test_one_of_many_connections_begins_the_new_history(database_url):
    """After a failover all of them are new, and each finds out."""
    async with Database(database_url) as server, Database(database_url) as other:
        await server.beat()
        lanes = [server.lane() for _ in range(8)]
        await other.fetch("UPDATE queue_head SET identity = 'another'")
        with capture_logs() as logs:
            await asyncio.gather(*(lane.fetch("SELECT 1") for lane in lanes), return_exceptions=True)
        assert [line["event"] for line in logs].count("database.other_history") == 1
        await asyncio.gather(*(lane.fetch("SELECT 1") for lane in lanes))


@pytest.mark.sessions("makes the session of a lane read-only")
async def test_a_connection_of_the_history_before_cannot_break_those_of_the_new_one(database_url):
    """A lane that was idle would be told by its old host that it takes no writes, when the others have moved."""
    async with Database(database_url) as server, Database(database_url) as other:
        await server.beat()
        idle = server.lane()
        await idle.fetch("SET default_transaction_read_only = on")
        await other.fetch("UPDATE queue_head SET identity = 'another'")
        await server.beat()
        moved = server.lane()
        (process,) = await moved.fetch(OWN_PROCESS)
        await idle.fetch("UPDATE queue_head SET completed = 7")
        assert await moved.fetch(OWN_PROCESS) == [process]


@pytest.mark.sessions("makes a session read-only")
async def test_a_host_that_takes_no_writes_any_more_is_none_to_begin_a_history_at(database_url):
    """The host was demoted between the opening of a connection and the look at its history. It breaks no others."""
    async with Database(database_url) as server, Database(database_url) as other:
        await server.beat()
        process = await server.fetch(OWN_PROCESS)
        before = server.history.epoch
        await other.fetch("UPDATE queue_head SET identity = 'another'")
        connection = await connect(database_url, 10)
        await connection.execute("SET default_transaction_read_only = on")
        with pytest.raises(asyncpg.TargetServerAttributeNotMatched):
            await server.history.look(connection)
        assert connection.is_closed()
        assert await server.fetch(OWN_PROCESS) == process
        assert server.history.epoch == before


async def test_connections_do_not_wait_for_ever_for_one_that_begins_a_history_at_a_silent_host(database_url):
    history = History(patience=0.2)
    opened = [await connect(database_url, 3600) for _ in range(4)]
    await history.look(opened[0])
    admin = await asyncpg.connect(database_url)
    async with admin.transaction():
        await admin.execute("UPDATE queue_head SET identity = 'another'")
    async with admin.transaction():
        await admin.execute("SELECT FROM queue_head FOR UPDATE")  # nobody can begin
        async with asyncio.timeout(60):
            answers = await asyncio.gather(*map(history.look, opened), return_exceptions=True)
    assert all(isinstance(answer, AWAY) for answer in answers)
    assert all(connection.is_closed() for connection in opened)
    before = history.epoch

    async def begins() -> bool:
        with suppress(*AWAY):  # a busy machine needs more than the fifth of a second now and then
            last = await connect(database_url, 10)
            await history.look(last)
            await last.close()
        return history.epoch != before

    await eventually(begins)
    await admin.close()


class BreaksAfterItsWrite:
    """A connection that is broken off right after the statement that begins a history."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        self._connection = connection

    async def execute(self, *statement: Any) -> None:
        await self._connection.execute(*statement)
        self._connection.terminate()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)


async def test_what_was_seen_is_not_forgotten_when_the_connection_breaks_that_begins_a_history(database_url):
    history = History()
    first, second, third = [await connect(database_url, 10) for _ in range(3)]
    breaks: Any = BreaksAfterItsWrite(second)
    async with Database(database_url) as other:
        await other.fetch("UPDATE queue_head SET beat = 100")
        await history.look(first)
        epoch = history.epoch
        [row] = await other.fetch("SELECT identity FROM queue_head")
        await other.fetch("UPDATE queue_head SET identity = 'another'")
        with pytest.raises(AWAY):
            await history.look(breaks)
        # An old copy is put back.
        await other.fetch("UPDATE queue_head SET epoch = $1, identity = $2, beat = 1", epoch, row["identity"])
        await history.look(third)
        assert history.epoch != epoch
    for connection in (first, third):
        await connection.close()
