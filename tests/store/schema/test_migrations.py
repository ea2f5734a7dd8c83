"""The schema: how it comes to be, and what it refuses to hold."""

import shutil

import asyncpg
import pytest
from alembic.script import ScriptDirectory

from tests.support.conditions import at_once
from tests.support.postgres.queue_under_test import TABLES, model_file, new_job
from thumbq_server.storage import migrations
from thumbq_server.storage.migrations import schema_state, state, upgrade
from thumbq_server.storage.postgres.database import Database
from thumbq_server.storage.views import VIEWS


def revisions():
    return ScriptDirectory.from_config(state.scripts())


async def schema_of(database):
    return await database.fetch(
        "SELECT table_name, column_name, data_type, is_nullable, column_default FROM information_schema.columns"
        " WHERE table_schema = 'public' ORDER BY 1, ordinal_position"
    )


def test_the_revisions_are_one_line():
    assert len(revisions().get_heads()) == 1
    assert len(revisions().get_bases()) == 1


def test_the_names_of_the_files_are_the_line_of_revisions():
    assert state.revisions() == [script.revision for script in revisions().walk_revisions()]


async def test_an_empty_database_becomes_a_queue(empty_database_url):
    await upgrade(empty_database_url)
    async with Database(empty_database_url) as database:
        tables = {row["table_name"] for row in await schema_of(database)}
        assert tables == {*TABLES, *VIEWS, "thumbq_version"}
        (version,) = await database.fetch("SELECT version_num FROM thumbq_version")
        assert version["version_num"] == revisions().get_current_head()
        (head,) = await database.fetch("SELECT seq, completed FROM queue_head")
        assert tuple(head) == (0, 0)


async def test_the_tables_can_be_made_from_a_folder_with_per_cent_signs(empty_database_url, tmp_path, monkeypatch):
    folder = tmp_path / "a%20clone" / "migrations"
    shutil.copytree(migrations.__path__[0], folder)
    monkeypatch.setattr(state, "__file__", str(folder / "state.py"))
    before = await upgrade(empty_database_url)
    after = await schema_state(empty_database_url)
    assert (before.found, after.found) == (None, revisions().get_current_head())


async def test_twenty_servers_may_upgrade_at_once(empty_database_url):
    await at_once(*[upgrade(empty_database_url) for _ in range(20)])
    async with Database(empty_database_url) as database:
        assert len(await database.fetch("SELECT FROM thumbq_version")) == 1
        assert len(await database.fetch("SELECT FROM queue_head")) == 1


async def test_an_upgrade_of_the_newest_schema_changes_nothing(queue):
    await queue.enqueue(new_job(7))
    before = await schema_of(queue.database)
    async with queue.unchanged():
        await upgrade(queue.database.dsn)
    assert await schema_of(queue.database) == before


async def test_an_upgrade_that_fails_leaves_nothing_behind(empty_database_url):
    async with Database(empty_database_url) as database:
        await database.fetch("CREATE TABLE notifications ()")
        with pytest.raises(Exception, match="notifications"):
            await upgrade(empty_database_url)
        assert await schema_of(database) == []
        await database.fetch("DROP TABLE notifications")
        await upgrade(empty_database_url)


async def test_each_database_has_a_log_of_its_own_epoch(empty_database_url, queue):
    await upgrade(empty_database_url)
    async with Database(empty_database_url) as other:
        (head,) = await other.fetch("SELECT epoch FROM queue_head")
    assert head["epoch"] != await queue.value("epoch FROM queue_head")


JOB = "INSERT INTO jobs (model_id, model_hash, priority, max_attempts) VALUES "
HASH = f"'\\x{model_file(1).hex()}'"
NONSENSE = {
    "a model below 1": f"{JOB} (0, {HASH}, 0, 3)",
    "a hash that is no SHA-256": f"{JOB} (9, '\\x1234', 0, 3)",
    "a priority below 0": f"{JOB} (9, {HASH}, -1, 3)",
    "a priority above 9": f"{JOB} (9, {HASH}, 10, 3)",
    "no attempts": f"{JOB} (9, {HASH}, 0, 0)",
    "eleven attempts": f"{JOB} (9, {HASH}, 0, 11)",
    "an unknown outcome": "UPDATE attempts SET outcome = 'Lost', path = NULL",
    "a picture without a file": "UPDATE attempts SET path = NULL",
    "a success with a message": "UPDATE attempts SET error_message = 'boom'",
    "a failure without a message": "UPDATE attempts SET outcome = 'Failed', path = NULL",
    "a release that is shown": "UPDATE attempts SET outcome = 'Released', path = NULL",
    "a file of negative size": "UPDATE attempts SET size_bytes = -1",
    "a picture without width": "UPDATE attempts SET width = 0",
    "a picture without height": "UPDATE attempts SET height = 0",
    "an attempt that is not dead": "UPDATE attempts SET dead = false",
    "an attempt that ended twice": "INSERT INTO attempts SELECT * FROM attempts",
    "a second job for the same file": f"{JOB} (7, {HASH}, 0, 3)",
    "a job ready twice": "INSERT INTO ready SELECT * FROM ready",
    "a negative attempt": "UPDATE ready SET attempt = -1",
    "a job leased twice": "INSERT INTO leases SELECT * FROM leases",
    "a lease without an attempt": "UPDATE leases SET attempt = 0",
    "a lease without a fence": "UPDATE leases SET lease_seq = 0",
    "a second head": "INSERT INTO queue_head (only_row) VALUES (true)",
    "another head": "INSERT INTO queue_head (only_row) VALUES (false)",
    "a negative seq": "UPDATE queue_head SET seq = -1",
    "a negative count of completed jobs": "UPDATE queue_head SET completed = -1",
    "a negative count of failed jobs": "UPDATE queue_head SET failed = -1",
    "a negative count of cancelled jobs": "UPDATE queue_head SET cancelled = -1",
    "a notification of unknown status": "UPDATE notifications SET status = 'Completed'",
    "a span that is not as long as its notifications": "UPDATE notifications SET seq_first = seq_first - 1",
    "notifications without their jobs": "UPDATE notifications SET job_ids = '{}'",
    "notifications without their attempts": "UPDATE notifications SET attempt_counts = '{}'",
    "a worker known twice": "INSERT INTO workers (worker_id) VALUES ('worker-1')",
}


@pytest.mark.parametrize("nonsense", NONSENSE)
async def test_the_schema_refuses(queue, nonsense):
    await queue.job_in("Completed", new_job(8))
    await queue.job_in("Processing", new_job(9, file=2))
    await queue.enqueue(new_job(7))
    with pytest.raises(asyncpg.IntegrityConstraintViolationError):
        await queue.sql(NONSENSE[nonsense])
