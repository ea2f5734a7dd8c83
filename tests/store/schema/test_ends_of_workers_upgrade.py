"""An upgrade from 0019 lets workers be counted; servers of the older version go on."""

import asyncpg

from thumbq_server.storage import workers
from thumbq_server.storage.migrations import upgrade
from thumbq_server.storage.postgres.database import Database
from thumbq_server.storage.reads.operations import list_workers

# What a server of the version before does when a worker begins, and when it was heard of.
OLD_REGISTER = "INSERT INTO workers (worker_id, session_id, version, labels) VALUES ($1, 'monday', '1', '{}')"
OLD_HEARTBEAT = "UPDATE workers SET last_seen_at = now() WHERE id = ANY ($1)"
FILE = "SELECT pg_relation_filenode('workers')"


async def test_workers_of_before_have_completed_nothing_yet_and_older_servers_leave_counts_alone(empty_database_url):
    await upgrade(empty_database_url, "0019")
    connection = await asyncpg.connect(empty_database_url)
    try:
        await connection.execute(OLD_REGISTER, "ada")
        file = await connection.fetchval(FILE)
        await upgrade(empty_database_url)
        assert await connection.fetchval(FILE) == file, "nothing is rewritten"
        await connection.execute(OLD_REGISTER, "bob")
        async with Database(empty_database_url) as database:
            assert [state[-3:] for state in await list_workers(database)] == [(0, 0, 0.0)] * 2
            await workers.record(database, database.history.version, {1, 2}, {1: 2}, {2: 1})
            await connection.execute(OLD_HEARTBEAT, [1, 2])
            counts = {state.worker_id: (state.completed, state.failed) for state in await list_workers(database)}
        assert counts == {"ada": (2, 0), "bob": (0, 1)}
    finally:
        await connection.close()
