"""A subscriber's way through the log: every commit in order, or one reset."""

import asyncio
import gc
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing

import pytest

from tests.engine.parts import LastingComeback, WatchedDatabase, away, until
from tests.engine.readers.reader import caught_up, following, write
from tests.support.postgres.queue_under_test import QueueUnderTest
from thumbq_server.access.keyring import Keyring
from thumbq_server.access.tickets import Tickets
from thumbq_server.engine.readers import cursor as cursors
from thumbq_server.engine.readers.cursor import Cursor, ResetReason
from thumbq_server.engine.readers.hub import Hub
from thumbq_server.engine.readers.progress_feed import ProgressFeed
from thumbq_server.engine.readers.queue_snapshots import QueueSnapshots
from thumbq_server.engine.readers.subscription import Step, Subscriptions
from thumbq_server.engine.readers.views import Views
from thumbq_server.rpc.notification_service import NotificationService
from thumbq_server.storage.postgres.database import Database


@pytest.fixture
def subscriptions(watched: WatchedDatabase, hub: Hub) -> Subscriptions:
    return Subscriptions(watched, hub)


@pytest.fixture
async def steps(subscriptions: Subscriptions, hub: Hub) -> AsyncIterator[AsyncGenerator[Step, None]]:
    """A subscriber that has the cursor to start from."""
    async with aclosing(subscriptions.follow("")) as steps:
        assert (await next_of(steps)).commits == ()
        await following(hub)
        yield steps


async def next_of(steps: AsyncGenerator[Step, None]) -> Step:
    return await asyncio.wait_for(anext(steps), 30)


async def test_each_step_goes_on_where_the_one_before_ended(
    steps: AsyncGenerator[Step, None], hub: Hub, others: QueueUnderTest
):
    for head, size in ((2, 2), (5, 3)):
        await caught_up(hub, await write(others, [size]))
        step = await next_of(steps)
        assert (step.before, step.cursor.seq, step.reset) == (head - size, head, None)
        assert [(commit.seq_first, commit.seq_last) for commit in step.commits] == [(head - size + 1, head)]


async def test_a_hole_in_the_log_is_one_reset_to_the_head(
    steps: AsyncGenerator[Step, None], hub: Hub, others: QueueUnderTest
):
    await write(others, [1, 1, 1])
    await others.sql("DELETE FROM notifications WHERE seq_last <= 2")
    await caught_up(hub, 3)
    step = await next_of(steps)
    assert (step.commits, step.reset) == ((), ResetReason.TOO_OLD)
    assert step.cursor == await cursors.head(others.database)
    await others.sql("DELETE FROM notifications")
    await others.sql("UPDATE queue_head SET seq = 0")


async def test_a_subscription_ends_with_the_hub(steps: AsyncGenerator[Step, None], hub: Hub):
    hub.close()
    with pytest.raises(StopAsyncIteration):
        await next_of(steps)


async def test_a_hub_that_has_ended_gives_no_first_step(subscriptions: Subscriptions, hub: Hub):
    hub.close()
    async with aclosing(subscriptions.follow("")) as steps:
        with pytest.raises(StopAsyncIteration):
            await next_of(steps)


async def test_a_commit_is_encoded_once_for_all_subscribers_and_forgotten_with_the_ring(
    subscriptions: Subscriptions, hub: Hub, watched: WatchedDatabase, others: QueueUnderTest
):
    tickets = Tickets(watched, Keyring(watched, None))
    service = NotificationService(
        Views(watched), subscriptions, QueueSnapshots(watched), ProgressFeed(watched), tickets
    )
    with hub.reading():
        await following(hub)
        await caught_up(hub, await write(others, [3]))
        (commit,) = await hub.after(0)
        (again,) = await hub.after(0)
        step = Step(0, Cursor("epoch", 3), [commit])
        [encoded] = [piece async for piece in service._pieces(step)]
        assert [notification.cursor for notification in encoded] == ["epoch-1", "epoch-2", "epoch-3"]
        [shared] = [piece async for piece in service._pieces(step._replace(commits=[again]))]
        assert all(one is other for one, other in zip(encoded, shared, strict=True))
    del commit, again, step, encoded, shared
    gc.collect()
    assert not service._encoded


@pytest.mark.sessions("a pooler answers for a database that is away, in a time of its own")
async def test_a_subscriber_gets_its_cursor_as_soon_as_any_part_has_reached_postgresql_again(
    postgres: str, database_url: str
):
    async with Database(database_url) as database:
        database.history.comeback = comeback = LastingComeback()
        async with aclosing(Subscriptions(database, Hub(database)).follow("")) as steps:
            async with away(postgres, database_url):
                first = asyncio.create_task(next_of(steps))
                await until(lambda: comeback.pauses)
            await database.lane().fetch("SELECT 1")
            assert (await first).commits == ()
