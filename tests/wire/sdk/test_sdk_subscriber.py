"""The SDK's subscriber against a real server."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import grpc
import pytest

from tests.support.service.keys import keyed, make_key, revoke
from tests.support.service.server import running_server
from tests.support.waiting import eventually
from tests.wire.sdk.sdk import PICTURE, connected, enqueue, reached, working
from thumbq import Client, InvalidRequest, Job, Notification, Reset, ResetReason, Subscriber, Thumbnail, ThumbnailStatus
from thumbq.v1.notification_pb2 import PublishTestNotificationRequest
from thumbq.v1.notification_pb2_grpc import NotificationServiceStub


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
    with pytest.raises(RuntimeError, match="use it inside `async with`"):
        await anext(aiter(subscriber))
    async with Subscriber(server, model_ids=[2**63]) as subscriber:
        with pytest.raises(InvalidRequest):
            await anext(aiter(subscriber))


async def test_the_end_of_the_block_ends_the_reading_of_another_task(server: str):
    async with Subscriber(server) as subscriber:
        cursor = subscriber.cursor
        reading = asyncio.create_task(first(subscriber, 2))
        await enqueue(server, 1)

        async def has_read() -> bool:
            return subscriber.cursor != cursor

        await eventually(has_read)
    assert summary(await reading) == [(1, "Pending")]


async def test_the_key_that_a_file_holds_now_counts_when_the_former_has_ended(
    server: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    async with grpc.aio.insecure_channel(server) as channel:
        admin = await make_key(channel, "admin")
    file = tmp_path / "viewer.key"
    monkeypatch.delenv("THUMBQ_API_KEY", raising=False)
    monkeypatch.setenv("THUMBQ_API_KEY_FILE", str(file))

    async def is_refused() -> bool:
        return any("is away (UNAUTHENTICATED" in record.getMessage() for record in caplog.records)

    async with keyed(server, admin) as admins:
        former, renewed = [await make_key(admins, "viewer") for _ in range(2)]
        file.write_text(former)
        async with Subscriber(server) as subscriber, Client(server) as client:
            following = asyncio.create_task(first(subscriber, 1))
            await client.thumbnail(7)
            file.write_text(renewed)
            await revoke(admins, former)
            await eventually(is_refused)
            await asyncio.gather(client.thumbnail(7), client.thumbnail(8))
            await NotificationServiceStub(admins).PublishTestNotification(
                PublishTestNotificationRequest(model_id=7, status=ThumbnailStatus.THUMBNAIL_STATUS_READY)
            )
            assert summary(await following) == [(7, "Ready")]
