"""Readers when the log does not reach back, when the hub ends, and when PostgreSQL is away."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from structlog.testing import capture_logs

from tests.engine.parts import WatchedDatabase, away, running, turns, until
from tests.engine.readers.reader import Reader, caught_up, following, write
from tests.support.postgres.queue_under_test import QueueUnderTest
from thumbq_server.engine.readers.hub import Hub, HubClosed, LogPruned
from thumbq_server.storage.postgres.errors import Unavailable

# when the log does not reach back


async def prune(others: QueueUnderTest, upto: int) -> None:
    await others.sql("DELETE FROM notifications WHERE seq_last <= $1", upto)


@pytest.fixture
async def pruned(others: QueueUnderTest) -> AsyncIterator[QueueUnderTest]:
    """A queue whose log may be pruned: at the end the head stands alone."""
    yield others
    await others.sql("DELETE FROM notifications")
    await others.sql("UPDATE queue_head SET seq = 0")


@pytest.mark.parametrize("follows", [True, False])
async def test_a_reader_behind_the_oldest_notification_learns_that_the_log_was_pruned(
    hub: Hub, pruned: QueueUnderTest, follows: bool
):
    await write(pruned, [2, 2, 2])
    await prune(pruned, 4)
    with hub.reading():
        if follows:
            await following(hub)
        for seq in (0, 2, 3):
            with pytest.raises(LogPruned):
                await hub.after(seq)
        assert [commit.seq_first for commit in await hub.after(4)] == [5]


@pytest.mark.parametrize("follows", [True, False])
async def test_a_reader_behind_a_log_that_was_pruned_to_its_end_learns_it(
    hub: Hub, pruned: QueueUnderTest, follows: bool
):
    await write(pruned, [2, 2, 2])
    await prune(pruned, 6)
    with hub.reading():
        if follows:
            await following(hub)
        with pytest.raises(LogPruned):
            await hub.after(5)
        waiting = asyncio.create_task(hub.after(6))
        await following(hub)
        await write(pruned, [1])
        hub.wake()
        assert [commit.seq_first for commit in await waiting] == [7]


async def test_commits_in_the_ring_are_given_though_the_log_was_pruned(hub: Hub, pruned: QueueUnderTest):
    with hub.reading():
        await following(hub)
        await caught_up(hub, await write(pruned, [2, 2, 2]))
        await prune(pruned, 6)
        reader = Reader(hub)
        await reader.read_to(6)


async def test_commits_pruned_before_the_hub_had_read_them_are_no_silent_hole(hub: Hub, pruned: QueueUnderTest):
    """The hub is late: all hints were lost, or PostgreSQL was away for long."""
    with hub.reading():
        await following(hub)
        await caught_up(hub, await write(pruned, [1, 1]))
        await write(pruned, [1, 1, 1])
        await prune(pruned, 4)
        await caught_up(hub, 5)
        for seq in (0, 1, 2, 3):
            with pytest.raises(LogPruned):
                await hub.after(seq)
        assert [commit.seq_first for commit in await hub.after(4)] == [5]


# when it ends, and when PostgreSQL is away


async def test_every_reader_ends_with_the_hub(hub: Hub):
    with hub.reading():
        await following(hub)
        waiting = [asyncio.create_task(hub.after(0)) for _ in range(3)]
        await turns()
        hub.close()
        for task in waiting:
            with pytest.raises(HubClosed):
                await task
        with pytest.raises(HubClosed):
            await hub.after(0)


async def test_readers_stay_where_they_are_while_postgresql_is_away(postgres: str, database_url: str):
    async with WatchedDatabase(database_url) as database:
        hub = Hub(database, poll=0.02)
        others = QueueUnderTest(database, database.lane(), 0)
        with capture_logs() as logs:
            async with running(hub.run()):
                with hub.reading():
                    await following(hub)
                    await write(others, [1, 1])
                    await until(lambda: hub._seq == 2)
                    reader = Reader(hub, seq=2)
                    reading = asyncio.create_task(reader.read_on())
                    async with away(postgres, database_url):
                        asked = len(database.asked)
                        await until(lambda: len(database.asked) >= asked + 3, seconds=90)
                        assert [commit.seq_last for commit in await hub.after(0)] == [1, 2], "the ring is there"
                        assert not reading.done()
                    await write(others, [1])
                    await reading
                    await until(lambda: len(logs) == 2)
        assert [(entry["event"], entry["who"]) for entry in logs] == [
            ("postgres.away", "hub"),
            ("postgres.back", "hub"),
        ]


async def test_a_reader_of_the_log_learns_that_postgresql_is_away(postgres: str, database_url: str):
    async with WatchedDatabase(database_url) as database:
        hub = Hub(database)
        async with away(postgres, database_url):
            with pytest.raises(Unavailable):
                await hub.after(0)
