"""A server knows whether PostgreSQL may lose what it has acknowledged: a primary and a standby, as they can be set."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import pytest
from structlog.testing import capture_logs

from tests.engine.dispatcher.worker import Worker
from tests.engine.parts import POLICY, running, until
from tests.support.postgres.queue_under_test import new_job
from tests.support.postgres.standby import Pair, ask
from tests.support.waiting import eventually
from thumbq_launcher.postgres import embedded
from thumbq_server.engine.queue import Queue
from thumbq_server.storage.migrations import upgrade
from thumbq_server.storage.postgres import patience
from thumbq_server.storage.postgres.database import Database
from thumbq_server.storage.postgres.durability import Durability
from thumbq_server.storage.postgres.errors import Unavailable
from thumbq_server.storage.postgres.lane import Lane
from thumbq_server.storage.workers import register


@pytest.fixture
async def pair(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Pair]:
    # The command line of PostgreSQL goes before its files, and cannot be changed while it runs.
    for name in ("fsync", "synchronous_commit"):
        monkeypatch.delitem(embedded.SETTINGS, name)
    async with Pair(tmp_path) as pair:
        yield pair


async def test_settings_that_may_lose_commits_are_told_while_they_last(pair: Pair) -> None:
    admin = await asyncpg.connect(pair.primary.dsn)
    await admin.execute("CREATE ROLE plain LOGIN")
    # an address with one host: the standby itself is noticed
    async with Database(pair.primary.dsn.replace("postgres@", "plain@")) as database:
        durability = Durability(database)

        async def told(sentence: str) -> bool:
            await durability()
            return sentence in (durability.risk or "nothing is at risk")

        async def tells(sentence: str, **settings: str) -> None:
            for name, value in settings.items():
                await admin.execute(f"ALTER SYSTEM SET {name} = '{value}'")
            await admin.execute("SELECT pg_reload_conf()")
            await eventually(lambda: told(sentence), timeout=60)

        with capture_logs() as logs:
            await tells("synchronous_standby_names is empty, so a standby that takes over may lack jobs")
            await tells("nothing is at risk", synchronous_standby_names="*")
            await tells("synchronous_commit is local", synchronous_commit="local")
            await tells("synchronous_commit is remote_write", synchronous_commit="remote_write")
            await tells("nothing is at risk", synchronous_commit="remote_apply")
            await tells("fsync is off", fsync="off")
            await tells("synchronous_commit is off", fsync="on", synchronous_commit="off")
            await durability()
    await admin.close()
    assert [line["event"].removeprefix("commits.") for line in logs if line["event"].startswith("commits.")] == [
        *["at_risk", "safe", "at_risk", "at_risk", "safe", "at_risk", "at_risk"]
    ]


async def write_until_a_commit_waits(connection: asyncpg.Connection) -> None:
    """PostgreSQL takes a moment until each commit waits for its standby. The last one here is never answered."""
    while True:
        await connection.execute("INSERT INTO others VALUES ('x')")


@pytest.fixture
async def admin(pair: Pair) -> AsyncIterator[asyncpg.Connection]:
    """A connection that only looks while the standby is away."""
    admin = await asyncpg.connect(pair.primary.dsn)
    await admin.execute("CREATE TABLE notes (what text); CREATE TABLE others (what text)")
    yield admin
    await admin.close()


async def commits_wait(admin: asyncpg.Connection, count: int) -> bool:
    waits = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
    return bool(await admin.fetchval(waits) == count)


@asynccontextmanager
async def standby_away(pair: Pair, admin: asyncpg.Connection) -> AsyncIterator[None]:
    """Let each commit wait for the standby, which comes back when the block ends. One of them waits already."""
    await asyncio.to_thread(pair.standby.stop)
    await admin.execute("ALTER SYSTEM SET synchronous_standby_names = '*'")
    await admin.execute("SELECT pg_reload_conf()")
    other = await asyncpg.connect(pair.primary.dsn)
    waiting = asyncio.create_task(write_until_a_commit_waits(other))
    await eventually(lambda: commits_wait(admin, 1), timeout=60)
    yield
    waiting.cancel()
    other.terminate()
    pair.standby.launch()


async def test_a_commit_that_waits_for_its_standby_is_not_acknowledged_when_time_is_over(
    pair: Pair, admin: asyncpg.Connection
) -> None:
    """A cancelled wait would show the row to all, and whoever asks again would be told that it is there."""

    async def are_there() -> bool:
        return bool(await admin.fetchval("SELECT count(*) FROM notes") == 2)

    async with Database(pair.primary.dsn, statement_timeout=10) as database:
        async with standby_away(pair, admin):
            ways: dict[str, Database | Lane] = {"lane": database.lane(), "pool": database}
            for name, way in ways.items():
                with pytest.raises(Unavailable):
                    await way.fetch("INSERT INTO notes VALUES ($1)", name)
            assert await admin.fetchval("SELECT count(*) FROM notes") == 0
            await eventually(lambda: commits_wait(admin, 3), timeout=60)
        await eventually(are_there, timeout=60)


async def test_a_claim_whose_commit_waits_for_its_standby_costs_no_attempt(
    monkeypatch: pytest.MonkeyPatch, pair: Pair, admin: asyncpg.Connection
) -> None:
    """Nobody sees its leases meanwhile. A further claim would take other jobs, and no worker would ever have them."""
    monkeypatch.setattr(patience, "_LATE_SECONDS", 0.5)
    await upgrade(pair.primary.dsn)
    async with Database(pair.primary.dsn, statement_timeout=1) as database:
        queue = Queue(database, policy=POLICY, unary_lease_seconds=600)
        await queue.enqueue([new_job(model) for model in range(1, 11)])
        worker = Worker(queue.dispatcher, await register(database, "worker-1"))
        async with running(queue.dispatchers.run()):
            async with standby_away(pair, admin):
                worker.ask(2)
                await until(lambda: len(worker.absences) == 3)
            await eventually(lambda: commits_wait(admin, 0), timeout=60)
            await worker.has(2)
    leases = await admin.fetch("SELECT job_id, attempt FROM leases ORDER BY job_id")
    assert [tuple(lease) for lease in leases] == [(job_id, 1) for job_id in sorted(worker.jobs)]


async def test_several_hosts_need_a_synchronous_standby_before_any_follows(pair: Pair) -> None:
    pair.standby.stop()

    async def is_alone() -> bool:
        return not await ask(pair.primary, "SELECT count(*) FROM pg_stat_replication")

    await eventually(is_alone, timeout=60)
    for address, may_lose in [(pair.primary.dsn, False), (pair.dsn, True)]:
        async with Database(address) as database:
            durability = Durability(database)
            await durability()
            assert (durability.risk is not None) == may_lose
