"""What a server takes for another history of the database, and that several servers agree on it."""

from functools import partial

import pytest

from thumbq_server.storage.postgres.database import Database
from thumbq_server.storage.postgres.errors import Unavailable

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
