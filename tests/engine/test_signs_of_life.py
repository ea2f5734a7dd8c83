"""Workers that were heard of: written down together, told by longer leases, and forgotten after a week of silence."""

from contextlib import suppress
from dataclasses import replace

import asyncpg
import pytest

from tests.engine.parts import WatchedDatabase
from tests.support.postgres.queue_under_test import QueueUnderTest, new_job
from tests.support.waiting import eventually
from thumbq_server.engine.upkeep.duties import PruneWorkers, RecordSignsOfLife
from thumbq_server.storage import workers
from thumbq_server.storage.postgres.database import Database
from thumbq_server.storage.postgres.errors import Unavailable


async def test_signs_of_life_of_many_workers_are_written_in_one_statement(
    watched: WatchedDatabase, others: QueueUnderTest
):
    silent, *alive = [await workers.register(others.database, f"worker-{n}", f"session-{n}") for n in range(3)]
    await others.sql("UPDATE workers SET last_seen_at = now() - interval '1 hour'")
    record = RecordSignsOfLife(watched, 600)
    for _ in range(2):
        for session in alive:
            record.note(session)
    await record()
    assert len(watched.asked) == 1
    seen = "id FROM workers WHERE last_seen_at > now() - interval '1 minute' ORDER BY id"
    assert [row["id"] for row in await others.database.fetch(f"SELECT {seen}")] == alive
    await record()
    assert len(watched.asked) == 1, "no sign of life, no statement"
    assert silent not in alive


async def test_a_unary_lease_is_as_long_as_configured_once_its_worker_is_heard_of_again(
    watched: WatchedDatabase, others: QueueUnderTest
):
    others = replace(others, worker=await workers.register(others.database, "json"))
    record = RecordSignsOfLife(watched, 600)
    (first,) = await others.claimed(new_job(1))
    await others.sql("UPDATE leases SET claimed_at = now() - interval '5s', expires_at = now() + interval '55s'")
    record.hear(others.worker)
    (second,) = await others.claimed(new_job(2))
    await others.sql("UPDATE leases SET claimed_at = now() + interval '1s' WHERE job_id = $1", second.job_id)
    await record()
    seconds = {
        row["job_id"]: row["s"]
        for row in await others.sql("SELECT job_id, extract(epoch FROM expires_at - claimed_at)::int AS s FROM leases")
    }
    assert seconds[first.job_id] == 600
    assert seconds[second.job_id] < 60


async def test_a_worker_that_was_heard_keeps_its_jobs_when_that_could_not_be_written_at_once(database_url: str):
    async with Database(database_url, statement_timeout=5) as database, Database(database_url) as other:
        others = QueueUnderTest(other, other.lane(), await workers.register(other, "json"))
        record = RecordSignsOfLife(database, 600)
        await others.claimed(new_job(1))
        await others.sql("UPDATE leases SET claimed_at = now() - interval '5s', expires_at = now() + interval '55s'")
        record.hear(others.worker)
        lock = await asyncpg.connect(database_url)
        async with lock.transaction():
            await lock.execute("SELECT FROM leases FOR UPDATE")
            with pytest.raises(Unavailable):
                await record()
        await lock.close()

        async def lasts_ten_minutes() -> bool:
            with suppress(Unavailable):
                await record()
            [lease] = await others.sql("SELECT extract(epoch FROM expires_at - claimed_at)::int AS seconds FROM leases")
            return bool(lease["seconds"] == 600)

        await eventually(lasts_ten_minutes)


async def test_workers_that_were_not_heard_of_for_a_week_are_forgotten_unless_they_hold_a_lease(
    watched: WatchedDatabase, others: QueueUnderTest
):
    gone = await workers.register(others.database, "gone", "session")
    await others.claimed(new_job(1))
    await others.sql("UPDATE workers SET last_seen_at = now() - interval '8 days'")
    alive = await workers.register(others.database, "alive", "session")
    assert await PruneWorkers(watched, 7 * 86_400.0)() == 1
    left = {row["id"] for row in await others.sql("SELECT id FROM workers")}
    assert left == {others.worker, alive}
    assert gone not in left
