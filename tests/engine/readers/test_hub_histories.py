"""What the hub has read of the log tells a history that lost it, before any later beat is written."""

from collections.abc import AsyncIterator
from contextlib import suppress

import pytest

from tests.engine.parts import NEVER, running, until
from tests.engine.readers.reader import Reader, following
from thumbq_server.engine.readers.hub import Hub
from thumbq_server.storage import notification_log
from thumbq_server.storage.postgres.database import Database
from thumbq_server.storage.postgres.errors import Unavailable


@pytest.fixture
async def server(database_url: str) -> AsyncIterator[Database]:
    """The connections of one server, to a database of their own since its history changes."""
    async with Database(database_url) as server:
        yield server


@pytest.fixture
async def other(database_url: str) -> AsyncIterator[Database]:
    async with Database(database_url) as other:
        yield other


async def publish(other: Database) -> None:
    await notification_log.publish_test(other, 1, "Ready", "/1.png", None)


async def by_the_tail(hub: Hub, other: Database) -> None:
    async with running(hub.run()):
        with hub.reading():
            await following(hub)
            await publish(other)
            hub.wake()
            await until(lambda: hub._seq == 1)


async def as_a_page(hub: Hub, other: Database) -> None:
    await publish(other)
    await Reader(hub).read_to(1)


@pytest.mark.parametrize("read", [by_the_tail, as_a_page])
async def test_a_log_that_ends_before_what_was_read_is_another_one(read, server: Database, other: Database):
    await server.beat()
    before = server.history.epoch
    await read(Hub(server, poll=NEVER), other)
    # A backup from before the commit is put back: the log is shorter, the beat is the same, all connections end.
    await other.fetch("DELETE FROM notifications")
    await other.fetch("UPDATE queue_head SET seq = 0")
    server.drop_connections()
    with suppress(Unavailable):  # the beat was asked for in the history that is over
        await server.beat()
    assert server.history.epoch != before
    assert server.history.version == 1


async def test_what_was_read_in_a_history_that_is_over_counts_no_more(server: Database, other: Database):
    await server.beat()
    version = server.history.version
    await other.fetch("UPDATE queue_head SET identity = 'another'")
    await server.beat()
    begun = server.history.epoch
    server.history.has_reached(1_000_000, version)
    await server.beat()
    assert server.history.epoch == begun
