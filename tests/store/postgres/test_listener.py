"""Hints that something was committed: they come at once, and after a break everybody is woken."""

import asyncio
import contextlib
from collections.abc import Callable
from functools import partial

import asyncpg
import pytest

from tests.engine.parts import running
from tests.engine.parts import until as until_true
from tests.support.conditions import until
from tests.support.postgres.databases import around_pooler, new_role
from tests.support.postgres.queue_under_test import failure, new_job
from thumbq_server.storage import notification_log
from thumbq_server.storage.postgres import notify
from thumbq_server.storage.postgres.database import Database
from thumbq_server.storage.postgres.hints import JOBS, KEYS
from thumbq_server.storage.postgres.notify import listen, pass_on
from thumbq_server.storage.postgres.session_settings import connect


class Ear:
    """Counts the hints that came."""

    def __init__(self, queue):
        self.queue = queue
        self.heard = {"jobs": 0, "log": 0}
        self.woken = asyncio.Event()
        self.wake: dict[str, Callable[[], None]] = {name: partial(self._count, name) for name in self.heard}

    def _count(self, name):
        self.heard[name] += 1
        self.woken.set()

    async def next(self):
        """Wait for a hint, unless there was one already. Return the hints since the last call."""
        async with asyncio.timeout(30):
            await self.woken.wait()
        await self.everything_sent_has_arrived()
        heard = {name for name, count in self.heard.items() if count}
        self.heard = dict.fromkeys(self.heard, 0)
        self.woken.clear()
        return heard

    async def everything_sent_has_arrived(self):
        """Hints come in the order in which they were told: when a last one is here, so are those before it."""
        self.wake["the end"] = (arrived := asyncio.Event()).set
        self.queue.database.hints.tell("the end")
        async with asyncio.timeout(30):
            await arrived.wait()
        del self.wake["the end"]


def listening(database, wake):
    return listen(database, around_pooler(database.dsn), wake)


@pytest.fixture
async def ear(queue, monkeypatch):
    monkeypatch.setattr(notify, "_RETRY_SECONDS", 0.05)
    ear = Ear(queue)
    async with (
        Database(queue.database.dsn) as another_server,
        running(pass_on(queue.database)),
        running(listening(another_server, ear.wake)),
    ):
        assert await ear.next() == {"jobs", "log"}, "what came before is looked for at the start"
        yield ear


async def test_what_can_be_claimed_is_hinted(queue, ear):
    await queue.enqueue(new_job(7))
    assert "jobs" in await ear.next()
    (token,) = await queue.claim()
    await queue.release(token)
    assert "jobs" in await ear.next()
    await queue.fail(failure(*await queue.claim(), retry_delay=0))
    assert "jobs" in await ear.next()
    await queue.expired(*await queue.claim())
    assert "jobs" in await ear.next()
    await queue.enqueue(new_job(7, force=True))
    assert "jobs" in await ear.next()
    (token,) = await queue.claim()
    await queue.enqueue(new_job(7, force=True))
    await queue.complete(token)
    assert "jobs" in await ear.next()


async def test_what_can_be_read_from_the_log_is_hinted(queue, ear):
    token = await queue.claimed(new_job(7))
    await ear.next()
    await queue.complete(*token)
    assert await ear.next() == {"log"}
    await notification_log.publish_test(queue.database, 7, "Ready", None, None)
    assert await ear.next() == {"log"}


async def test_a_batch_gives_one_hint(queue, ear):
    await queue.enqueue(*[new_job(model) for model in range(1, 101)])
    await ear.everything_sent_has_arrived()
    assert ear.heard == {"jobs": 1, "log": 0}
    tokens = await queue.claim(100)
    await queue.complete(*tokens)
    await ear.everything_sent_has_arrived()
    assert ear.heard == {"jobs": 1, "log": 1}


async def test_what_changes_nothing_gives_no_hint(queue, ear):
    token = await queue.job_in("Completed", new_job(7))
    await ear.next()
    await queue.enqueue(new_job(7))
    await queue.claim()
    await queue.complete(token)
    await queue.release(token)
    await queue.expire()
    await ear.everything_sent_has_arrived()
    assert ear.heard == {"jobs": 0, "log": 0}


@contextlib.asynccontextmanager
async def heard(database):
    """Yield all that is sent on the channel from now on."""
    payloads: list[str] = []
    connection = await asyncpg.connect(around_pooler(database.dsn))
    try:
        await connection.add_listener(notify.CHANNEL, lambda _connection, _pid, _channel, said: payloads.append(said))
        yield payloads
    finally:
        await connection.close()


async def test_a_server_alone_sends_no_hints(queue):
    async with (
        Database(queue.database.dsn) as database,
        heard(database) as payloads,
        running(pass_on(database)),
        running(listening(database, {})),
    ):
        await until_true(lambda: payloads)
        await queue.on(database.lane()).enqueue(new_job(7))
        database.hints.tell(KEYS)
        await until_true(lambda: KEYS in payloads)
        assert {*payloads} == {database.hints.others.greeting, KEYS}


async def test_servers_that_hear_of_one_another_send_hints_until_the_other_is_gone(queue):
    seconds = 0.0
    async with Database(queue.database.dsn) as mine, Database(queue.database.dsn) as theirs:
        mine.hints.others._clock = lambda: seconds
        enqueue = queue.on(mine.lane()).enqueue
        async with heard(mine) as payloads, running(pass_on(mine)), running(listening(mine, {})):
            await until_true(lambda: payloads)
            async with running(pass_on(theirs)), running(listening(theirs, {})):
                await until_true(mine.hints.others.may_be_there)
            await enqueue(new_job(7))
            await until_true(lambda: JOBS in payloads)
            payloads.clear()
            seconds = 60.0
            await enqueue(new_job(8))
            mine.hints.tell(KEYS)
            await until_true(lambda: KEYS in payloads)
            assert JOBS not in payloads


async def test_a_hint_comes_with_the_commit_and_not_before(queue, ear):
    writer = await asyncpg.connect(queue.database.dsn)
    try:
        async with writer.transaction():
            await writer.execute("SELECT pg_notify('thumbq', 'jobs')")
            await ear.everything_sent_has_arrived()
            assert ear.heard["jobs"] == 0
        assert await ear.next() == {"jobs"}
    finally:
        await writer.close()


LISTENING = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND query ILIKE 'LISTEN%'"


async def test_after_its_connection_was_ended_it_returns_and_wakes_everybody(queue, ear):
    (before,) = await queue.sql(LISTENING)
    await queue.sql("SELECT pg_terminate_backend($1, 10000)", before["pid"])
    assert await ear.next() == {"jobs", "log"}
    (after,) = await queue.sql(LISTENING)
    assert after["pid"] != before["pid"]
    await queue.enqueue(new_job(7))
    assert "jobs" in await ear.next()


async def test_an_idle_connection_is_probed(queue, ear, monkeypatch):
    """After a power cut nothing closes the socket; only a statement finds out."""
    monkeypatch.setattr(notify, "_PROBE_SECONDS", 0.05)
    (before,) = await queue.sql(LISTENING)
    await queue.sql("SELECT pg_terminate_backend($1, 10000)", before["pid"])
    await ear.next()

    async def probed():
        return bool(await queue.sql("SELECT FROM pg_stat_activity WHERE query = $1", notify.PROBE))

    await until(probed)


async def test_it_waits_for_a_postgresql_that_is_away(monkeypatch, database):
    monkeypatch.setattr(notify, "_RETRY_SECONDS", 0.01)
    dsns = iter(["postgresql:///x?host=/nonexistent"] * 3)
    monkeypatch.setattr(notify, "connect", lambda dsn, statement_timeout: connect(next(dsns, dsn), statement_timeout))
    woken = asyncio.Event()
    task = asyncio.create_task(listening(database, {"jobs": woken.set}))
    async with asyncio.timeout(30):
        await woken.wait()
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


async def test_it_goes_where_the_other_connections_go(database_url):
    """Its old host may be silent, and would hear of nothing that the new primary commits."""
    async with Database(database_url) as server, Database(database_url) as other:
        await server.beat()
        woken = asyncio.Event()
        async with running(listening(server, {"log": woken.set})), asyncio.timeout(60):
            await woken.wait()
            (before,) = await other.fetch(LISTENING)
            woken.clear()
            await other.fetch("UPDATE queue_head SET identity = 'another'")
            await server.beat()
            await woken.wait()

            async def another_listens() -> bool:
                listeners = [row["pid"] for row in await other.fetch(LISTENING)]
                return len(listeners) == 1 and listeners != [before["pid"]]

            await until(another_listens)

            # Its own connection may be the first at a new primary.
            (second,) = await other.fetch(LISTENING)
            woken.clear()
            await other.fetch("UPDATE queue_head SET identity = 'a third'")
            await other.fetch("SELECT pg_terminate_backend($1, 10000)", second["pid"])
            await woken.wait()
            assert server.history.version == 2
            third = await other.fetch(LISTENING)
            await server.beat()
            assert await other.fetch(LISTENING) == third


async def test_a_role_that_may_read_no_table_hears_all_hints(database_url):
    """LISTEN needs no rights: THUMBQ_LISTEN_URL may name another role than DATABASE_URL."""
    admin = await asyncpg.connect(database_url)
    async with new_role(admin, around_pooler(database_url)) as (_, address), Database(database_url) as server:
        woken = asyncio.Event()
        async with running(listen(server, address, {"log": woken.set})), asyncio.timeout(30):
            await woken.wait()
            woken.clear()
            await notify.broadcast(server, ["log"])
            await woken.wait()
    await admin.close()
