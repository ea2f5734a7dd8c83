"""A server knows whether PostgreSQL may lose what it has acknowledged: a primary and a standby, as they can be set."""

from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest
from structlog.testing import capture_logs

from tests.support.standby import Pair, ask
from tests.support.waiting import eventually
from thumbq_launcher.postgres import embedded
from thumbq_server.storage.postgres.database import Database
from thumbq_server.storage.postgres.durability import Durability


@pytest.fixture
async def pair(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Pair]:
    # The command line of PostgreSQL goes before its files, and cannot be changed while it runs.
    for name in ("fsync", "synchronous_commit"):
        monkeypatch.delitem(embedded.SETTINGS, name)
    pair = Pair(tmp_path)
    try:
        await pair.start()
        yield pair
    finally:
        pair.stop()


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
