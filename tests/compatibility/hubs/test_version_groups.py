"""What the gateway keeps of the versions that pages have joined, and how it reads them while the server is away."""

import asyncio

import grpc
import pytest
from structlog.testing import capture_logs

from tests.support.network.http_client import Client, ask, digest
from tests.support.service.gateway import RestartableServer, running_gateway
from tests.support.waiting import eventually
from thumbq.v1.job_pb2 import Thumbnail, ThumbnailStatus
from thumbq_gateway.signalr.hubs import version_groups
from thumbq_gateway.signalr.hubs.version_groups import VersionGroups


async def enqueue(client: Client, *versions: int) -> None:
    for version in versions:
        await client.enqueue(42, modelHash=digest(version), modelVersionId=version)


async def has_read_all() -> bool:
    tasks = [task.get_coro() for task in asyncio.all_tasks()]
    return not any(getattr(one, "__qualname__", "") == "VersionGroups._read_stale" for one in tasks)


async def test_a_server_that_is_away_is_asked_for_one_version_again_and_again(restartable: RestartableServer) -> None:
    told: list[Thumbnail] = []
    async with (
        running_gateway(restartable.address) as http,
        grpc.aio.insecure_channel(restartable.address, [("grpc.max_reconnect_backoff_ms", 500)]) as channel,
    ):
        groups = VersionGroups(channel, lambda _version: True, told.append)
        await enqueue(Client(http), 40)
        for version in range(1, 41):
            await groups.read(version)
        await restartable.stop()
        with capture_logs() as lines:
            groups.log_has_hole()

            async def unread() -> list[int]:
                return [line["version_id"] for line in lines if line["event"] == "hub.version_unread"]

            async def failed_three_times() -> bool:
                return len(await unread()) >= 3

            await eventually(failed_three_times)
        assert len(set(await unread())) == 1
        await restartable.start()
        await eventually(has_read_all)
        assert [thumbnail.model_version_id for thumbnail in told] == [40]


async def test_pages_of_a_version_are_told_once_that_its_model_was_forgotten(client: Client, server: str) -> None:
    told: list[Thumbnail] = []
    async with grpc.aio.insecure_channel(server) as channel:
        groups = VersionGroups(channel, lambda _version: True, told.append)
        await enqueue(client, 7)
        await groups.read(7)
        assert (await ask(client.http, "DELETE", "/models/42/thumbnail")).status == 200
        for _ in range(2):
            groups.hear({42})
            await eventually(has_read_all)
    (forgotten,) = told
    assert (forgotten.model_id, forgotten.model_version_id) == (42, 7)
    assert forgotten.status == ThumbnailStatus.THUMBNAIL_STATUS_NONE


async def test_a_version_that_no_page_shows_is_forgotten_with_its_picture(
    client: Client, server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(version_groups, "_MOST_WATCHED", 1)
    told: list[int] = []
    joined = {7}
    async with grpc.aio.insecure_channel(server) as channel:
        groups = VersionGroups(
            channel, lambda version: version in joined, lambda thumbnail: told.append(thumbnail.model_version_id)
        )
        await enqueue(client, 7, 8, 9)
        await groups.read(7)
        groups.hear({42})
        await eventually(has_read_all)
        assert told == [7]
        joined.symmetric_difference_update({7, 8, 9})
        for version in (8, 9):
            await groups.read(version)
        # The next page that joins is told anew: nothing is known of the version any more.
        joined.add(7)
        await groups.read(7)
        groups.hear({42})
        await eventually(has_read_all)
        assert told.count(7) == 2
