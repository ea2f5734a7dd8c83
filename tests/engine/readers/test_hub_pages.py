"""Pages of the log are bounded in notifications, and readers that are far behind share them."""

import asyncio

from tests.engine.parts import WatchedDatabase
from tests.engine.readers.reader import Reader, following, write
from tests.support.postgres.queue_under_test import QueueUnderTest
from thumbq_server.engine.readers import hub as hubs
from thumbq_server.engine.readers.hub import Hub
from thumbq_server.storage.notification_log import AFTER


async def test_pages_are_bounded_in_notifications_and_never_empty(hub: Hub, others: QueueUnderTest, monkeypatch):
    monkeypatch.setattr(hubs, "_PAGE_EVENTS", 10)
    await write(others, [40, 4, 4, 4, 4, 40])
    reader = Reader(hub)
    with hub.reading():
        await following(hub)
        sizes = []
        while reader.seq < 96:
            before = reader.seq
            await reader.read_on()
            sizes.append(reader.seq - before)
    assert sizes == [48, 8, 40]


async def test_readers_that_are_far_behind_share_the_work(
    hub: Hub, watched: WatchedDatabase, others: QueueUnderTest, monkeypatch
):
    monkeypatch.setattr(hubs, "_PAGE_EVENTS", 10)
    await write(others, [5] * 20)
    readers = [Reader(hub) for _ in range(20)]
    with hub.reading():
        await following(hub)
        await asyncio.gather(*(reader.read_to(100) for reader in readers))
    assert sum(asked == str(AFTER) for asked in watched.asked) < 20
    assert all(reader.commits == readers[0].commits for reader in readers)
