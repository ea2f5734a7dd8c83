"""The room that a burst has left in the live tables goes back to the disk, and never while it would be in the way."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace

import asyncpg
import pytest

from tests.support.conditions import at_once
from tests.support.postgres.databases import new_role, pooled
from tests.support.postgres.queue_under_test import QueueUnderTest, new_job
from tests.support.service.server import running_server
from tests.support.waiting import eventually
from thumbq_server.engine.upkeep import room
from thumbq_server.engine.upkeep.room import GiveBackRoom
from thumbq_server.storage import workers
from thumbq_server.storage.postgres.database import Database
from thumbq_server.storage.postgres.errors import Unavailable

MIB = 1024 * 1024
MANY = 50_000
BURST = {
    "ready": """
        INSERT INTO ready (rank, job_id, run_at, model_id, created_at, priority, max_attempts, attempt, model_hash,
                           kind, kind_rank)
        SELECT 'infinity', n, now(), n, now(), 0, 3, 0, sha256(n::text::bytea), 'Preview', now()
          FROM generate_series(1000001, 1000000 + $1::bigint) n""",
    "leases": """
        INSERT INTO leases (job_id, lease_seq, model_id, session, claimed_at, expires_at, attempt)
        SELECT n, n, n, 1, now(), now(), 1 FROM generate_series(1000001, 1000000 + $1::bigint) n""",
}
SIZES = """
    SELECT relname, pg_relation_size(oid) AS heap, pg_indexes_size(oid) AS indexes
      FROM pg_class WHERE relname IN ('ready', 'leases') ORDER BY relname DESC
"""


@pytest.fixture
async def queue(database_url: str) -> AsyncIterator[QueueUnderTest]:
    """A queue in a database of its own, which may grow."""
    async with Database(database_url) as database:
        for table in BURST:
            # One that comes in between would keep the duty from its work for this time.
            await database.fetch(f"ALTER TABLE {table} SET (autovacuum_enabled = off)")
        yield QueueUnderTest(database, database.lane(), await workers.register(database, "worker-1"))


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """The clock of the duty, in the hands of the test."""
    clock = SimpleNamespace(now=1000.0)
    monkeypatch.setattr(room, "time", SimpleNamespace(monotonic=lambda: clock.now))
    return clock


async def burst(queue: QueueUnderTest, rows: int = MANY) -> None:
    for insert in BURST.values():
        await queue.sql(insert, rows)


async def drain(queue: QueueUnderTest, left: int = 0) -> None:
    """Delete the rows of the burst but the first ones."""
    for table in BURST:
        await queue.sql(f"DELETE FROM {table} WHERE job_id > $1", 1_000_000 + left)


async def large(queue: QueueUnderTest) -> list[str]:
    """Return the tables that take more than a MiB."""
    return [row["relname"] for row in await queue.sql(SIZES) if row["heap"] + row["indexes"] > MIB]


async def quiet(database: Database) -> GiveBackRoom:
    """Return a duty whose next look finds that no job was claimed since its last."""
    duty = GiveBackRoom(database)
    await duty()
    return duty


@asynccontextmanager
async def transaction(dsn: str, begin: str) -> AsyncIterator[None]:
    """Keep a transaction open that begins with these statements."""
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute(begin)
        yield
    finally:
        await connection.close()


async def test_a_quiet_queue_gives_the_room_of_a_burst_back_and_goes_on(queue: QueueUnderTest):
    (token,) = await queue.claimed(new_job(1))
    await queue.complete(token)
    await burst(queue)
    await drain(queue)
    assert await large(queue) == ["ready", "leases"]
    duty = GiveBackRoom(queue.database)
    assert [await duty() for _ in range(3)] == [0, 2, 0]
    assert [dict(row) for row in await queue.sql(SIZES)] == [
        {"relname": "ready", "heap": 0, "indexes": 2 * 8192},
        {"relname": "leases", "heap": 0, "indexes": 8192},
    ]
    # on the same connections, which have parsed these statements before
    (token,) = await queue.claimed(new_job(2))
    assert await queue.complete(token)


async def test_a_server_gives_it_back_by_itself(
    queue: QueueUnderTest, database_url: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(room, "_REST_SECONDS", 0.0)  # the looks of this test may be in the way
    await burst(queue)
    await drain(queue)

    async def is_small() -> bool:
        return await large(queue) == []

    async with running_server(database_url):
        await eventually(is_small)


async def test_the_few_jobs_that_are_left_stay(queue: QueueUnderTest):
    await queue.enqueue(new_job(1), new_job(2))
    await burst(queue)
    await drain(queue, left=900)
    assert await (await quiet(queue.database))() == 2
    assert await large(queue) == []
    counts = [await queue.value(f"count(*) FROM {table}") for table in BURST]
    assert counts == [902, 900]
    assert len(await queue.claim(5)) == 2


async def test_a_queue_whose_jobs_are_claimed_is_left_alone(queue: QueueUnderTest, database_url: str):
    await burst(queue)
    await drain(queue)
    async with Database(database_url) as other:
        duty = await quiet(other)
        for model in range(1, 4):
            await queue.claimed(new_job(model))
            assert await duty() == 0
        assert await large(queue) == ["ready", "leases"]
        assert await duty() == 2


async def test_a_table_with_many_rows_is_left_alone(queue: QueueUnderTest):
    await burst(queue)
    await drain(queue, left=1_000)
    duty = await quiet(queue.database)
    vacuums = "sum(vacuum_count) FROM pg_stat_user_tables WHERE relname IN ('ready', 'leases')"
    before = await queue.value(vacuums)
    assert [await duty() for _ in range(3)] == [0, 0, 0]
    assert await large(queue) == ["ready", "leases"]
    assert await queue.value(vacuums) == before
    await drain(queue)
    assert await duty() == 2


async def test_a_table_that_another_transaction_uses_is_left_to_a_later_look(
    clock: SimpleNamespace, queue: QueueUnderTest, database_url: str
):
    await burst(queue)
    await drain(queue)
    # so that the duty has nothing to truncate, for which VACUUM would wait
    await queue.database.run(lambda connection: connection.execute("VACUUM ready, leases"))
    duty = await quiet(queue.database)
    async with transaction(database_url, "BEGIN; LOCK TABLE ready IN ROW EXCLUSIVE MODE"):
        assert await duty() == 1
        assert await large(queue) == ["ready"]
        assert len(await queue.claimed(new_job(1))) == 1
    clock.now += 59
    assert await duty() == 0
    clock.now += 2
    assert [await duty(), await duty()] == [0, 1], "a job was claimed in the meantime"
    assert await large(queue) == []


async def test_a_duty_that_was_broken_off_rests_as_well(
    clock: SimpleNamespace, queue: QueueUnderTest, database_url: str
):
    await burst(queue)
    await drain(queue)
    async with Database(database_url, statement_timeout=0.5) as hasty:
        duty = await quiet(hasty)
        # VACUUM tries to truncate for seconds.
        async with transaction(database_url, "BEGIN; LOCK TABLE ready IN ACCESS SHARE MODE"):
            with pytest.raises(Unavailable):
                await duty()
            assert await duty() == 0
    clock.now += 61
    assert await (await quiet(queue.database))() == 2


async def test_rows_that_an_old_transaction_may_still_see_are_not_written_again(
    clock: SimpleNamespace, queue: QueueUnderTest, database_url: str
):
    await burst(queue)
    async with transaction(database_url, "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT FROM jobs"):
        await drain(queue)
        places = "array_agg(pg_relation_filenode(oid)) FROM pg_class WHERE relname IN ('ready', 'leases')"
        before = await queue.value(places)
        duty = await quiet(queue.database)
        assert await duty() == 0
        assert await queue.value(places) == before
    clock.now += 61
    assert await duty() == 2


async def test_a_job_at_the_end_of_the_table_moves(queue: QueueUnderTest):
    await burst(queue)
    await queue.enqueue(new_job(1, delay=600))
    await drain(queue)
    assert await (await quiet(queue.database))() == 2
    assert await large(queue) == []
    assert await queue.value("count(*) FROM ready") == 1


async def test_many_servers_that_look_at_once_do_no_harm(clock: SimpleNamespace, queue: QueueUnderTest):
    await burst(queue)
    await drain(queue, left=10)
    duties = [await quiet(queue.database) for _ in range(4)]
    await at_once(*[duty() for duty in duties])
    clock.now += 61  # They may have kept each other from it.
    await duties[0]()
    assert await large(queue) == []
    assert [await queue.value(f"count(*) FROM {table}") for table in BURST] == [10, 10]


@pytest.mark.sessions("has a pooler of its own")
async def test_the_room_is_given_back_through_a_pooler(queue: QueueUnderTest, database_url: str, tmp_path: Path):
    await burst(queue)
    await drain(queue)
    with pooled(database_url, "transaction", tmp_path, default_pool_size=4) as address:
        async with Database(address) as database:
            assert await (await quiet(database))() == 2
    assert await large(queue) == []


@pytest.mark.sessions("a pooler has roles of its own")
async def test_a_role_that_may_not_vacuum_leaves_the_tables_as_they_are(queue: QueueUnderTest, database_url: str):
    owner = await asyncpg.connect(database_url)
    await burst(queue)
    await drain(queue)
    async with new_role(owner, database_url) as (name, as_role):
        await owner.execute(f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {name}")
        await owner.execute(f"GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO {name}")
        async with Database(as_role) as database:
            duty = await quiet(database)
            assert await duty() == 0
            assert await large(queue) == ["ready", "leases"]
            if owner.get_server_version().major >= 17:
                await owner.execute(f"GRANT MAINTAIN ON ready, leases TO {name}")
                assert await duty() == 2
    await owner.close()
