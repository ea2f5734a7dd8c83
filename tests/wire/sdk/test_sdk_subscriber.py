"""The SDK's subscriber against a real server."""

import asyncio
from collections.abc import AsyncIterator

import asyncpg
import pytest

from tests.support.service.server import running_server
from tests.wire.sdk.sdk import PICTURE, connected, enqueue, reached, working
from thumbq import InvalidRequest, Job, Notification, Reset, ResetReason, Subscriber, Thumbnail, ThumbnailStatus


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[asyncpg.Connection]:
    async with connected(database_url) as connection:
        yield connection


async def complete(job: Job) -> Thumbnail:
    return PICTURE


async def first(subscriber: Subscriber, count: int) -> list[Notification | Reset]:
    items: list[Notification | Reset] = []
    async with asyncio.timeout(30):
        async for item in subscriber:
            items.append(item)
            if len(items) == count:
                break
    return items


def summary(items: list[Notification | Reset]) -> list[tuple[int, str]]:
    return [
        (item.model_id, ThumbnailStatus.Name(item.status).removeprefix("THUMBNAIL_STATUS_").capitalize())
        for item in items
        if isinstance(item, Notification)
    ]


async def test_latest_begins_at_the_end_of_the_log_on_entering(server: str, database: asyncpg.Connection):
    await enqueue(server, 3)
    async with Subscriber(server) as subscriber:
        async with working(server, complete, concurrency=1):
            await reached(database, Completed=3)
        items = await first(subscriber, 3)
    assert summary(items) == [(1, "Ready"), (2, "Ready"), (3, "Ready")]


async def test_earliest_begins_with_the_log(server: str):
    await enqueue(server, 2)
    async with Subscriber(server, after="earliest") as subscriber:
        assert summary(await first(subscriber, 2)) == [(1, "Pending"), (2, "Pending")]


async def test_only_the_models_asked_for_are_sent(server: str):
    async with Subscriber(server, model_ids=[2, 4]) as subscriber:
        await enqueue(server, 5)
        assert summary(await first(subscriber, 2)) == [(2, "Pending"), (4, "Pending")]


async def test_only_the_statuses_asked_for_are_sent(server: str, database: asyncpg.Connection):
    async with Subscriber(server, statuses=[ThumbnailStatus.THUMBNAIL_STATUS_READY]) as subscriber:
        await enqueue(server, 2)
        async with working(server, complete, concurrency=1):
            await reached(database, Completed=2)
        assert summary(await first(subscriber, 2)) == [(1, "Ready"), (2, "Ready")]


async def test_reading_continues_where_it_stopped(server: str):
    await enqueue(server, 5)
    async with Subscriber(server, after="earliest") as subscriber:
        assert summary(await first(subscriber, 2)) == [(1, "Pending"), (2, "Pending")]
        cursor = subscriber.cursor
        assert summary(await first(subscriber, 1)) == [(3, "Pending")]
    async with Subscriber(server, after=cursor) as subscriber:
        assert summary(await first(subscriber, 3)) == [(3, "Pending"), (4, "Pending"), (5, "Pending")]


async def test_nothing_is_missed_while_the_server_restarts(database_url: str, unused_tcp_port: int):
    address = f"127.0.0.1:{unused_tcp_port}"
    connecting = asyncio.create_task(Subscriber(address).__aenter__())
    async with running_server(database_url, grpc_port=unused_tcp_port):
        subscriber = await connecting
        await enqueue(address, 2)
        items = await first(subscriber, 1)
        following = asyncio.create_task(first(subscriber, 2))
    async with running_server(database_url, grpc_port=unused_tcp_port), working(address, complete, concurrency=1):
        items += await following
    await subscriber.__aexit__(None, None, None)
    assert summary(items) == [(1, "Pending"), (2, "Pending"), (1, "Ready")]


@pytest.mark.parametrize("known", [True, False])
async def test_a_cursor_that_the_log_does_not_reach_back_to_is_a_reset(
    server: str, database: asyncpg.Connection, known: bool
):
    async with Subscriber(server) as subscriber:
        cursor = subscriber.cursor if known else "nonsense"
    await enqueue(server, 1)
    await database.execute("DELETE FROM notifications")

    async with Subscriber(server, after=cursor) as subscriber:
        (reset,) = await first(subscriber, 1)
        assert isinstance(reset, Reset)
        assert reset.cursor == subscriber.cursor != cursor
        expected = ResetReason.RESET_REASON_TOO_OLD if known else ResetReason.RESET_REASON_MALFORMED
        assert reset.reason == expected


async def test_what_the_server_refuses_is_raised_in_the_words_of_the_client(server: str):
    subscriber = Subscriber(server, model_ids=range(1, 10_002))
    with pytest.raises(RuntimeError, match="use it inside `async with`"):
        await anext(aiter(subscriber))
    async with subscriber:
        with pytest.raises(InvalidRequest, match="10001 items; at most 10000"):
            await anext(aiter(subscriber))
