"""The reset of a client whose cursor the log does not reach: one event with the new cursor and the reason."""

from typing import Any

import pytest

from tests.support.network.http_client import Client
from tests.support.service.gateway import RestartableServer, running_gateway
from tests.support.service.server import running_server
from tests.support.waiting import eventually
from thumbq_gateway.notifications.cursor import Cursor
from thumbq_server.storage import notification_log
from thumbq_server.storage.postgres.database import Database


async def forget(database_url: str, upto: str) -> None:
    """Prune the log up to this cursor."""
    async with Database(database_url) as database:
        await database.fetch("DELETE FROM notifications WHERE seq_last <= $1", Cursor.parse(upto).seq)


async def begin_another_log(database_url: str) -> None:
    async with Database(database_url) as database:
        await database.fetch("DELETE FROM notifications")
        await database.fetch("UPDATE queue_head SET epoch = 'another', seq = 0")


async def assert_one_reset(client: Client, reason: str, query: str = "", **headers: str) -> None:
    """Check that a page gets one reset with the present cursor, and continues from it, also after a reconnection."""
    now = await client.cursor()
    async with client.listen(query, **headers) as page:
        reset = await page.event("reset")
        assert reset.data == {"cursor": now, "reason": reason}
        assert reset.id == now
        await client.announce(2)
        assert await page.models(1) == [2]
    async with client.listen(query, **{"Last-Event-ID": reset.id}) as page:
        assert await page.models(1) == [2]
        await client.announce(2)
        assert await page.models(1) == [2]


FILTERS = pytest.mark.parametrize("query", ["", "modelId=2", "status=Ready", "modelId=2,3&status=Ready"])


@FILTERS
async def test_a_cursor_of_another_log_leads_to_one_reset(client: Client, query: str) -> None:
    await client.announce_and_arrive(1)
    await assert_one_reset(client, "OtherLog", query, **{"Last-Event-ID": "00000000-1"})


@pytest.mark.parametrize("cursor", ["nonsense", "12", "-", "--1", "malformed", "1-99999999999999999999"])
async def test_what_is_no_cursor_leads_to_one_reset(client: Client, cursor: str) -> None:
    await client.announce_and_arrive(1)
    await assert_one_reset(client, "Malformed", **{"Last-Event-ID": cursor})


@FILTERS
async def test_a_cursor_from_the_future_leads_to_one_reset(client: Client, query: str) -> None:
    now = Cursor.parse(await client.announce_and_arrive(1))
    await assert_one_reset(client, "Future", f"{query}&after={now._replace(seq=now.seq + 1_000)}")


@FILTERS
async def test_a_cursor_that_the_log_no_longer_reaches_leads_to_one_reset(
    server: str, database_url: str, query: str
) -> None:
    async with running_gateway(server, ring_notifications=2) as http:
        client = Client(http)
        too_old = await client.cursor()
        await client.announce(1)
        oldest = await client.cursor()
        for model_id in (2, 3, 4):
            await client.announce(model_id)
        await client.announce_and_arrive(5)
        await forget(database_url, oldest)
        async with client.listen(f"after={oldest}") as page:
            assert await page.models(4) == [2, 3, 4, 5]
        async with client.listen("after=earliest") as page:
            assert await page.models(4) == [2, 3, 4, 5]
        await assert_one_reset(client, "TooOld", f"{query}&after={too_old}")


async def test_a_server_forgets_what_is_older_than_its_retention(database_url: str) -> None:
    async with running_server(database_url, notification_retention=0.2) as server, running_gateway(server) as http:
        too_old = await Client(http).cursor()
        await Client(http).announce(1)
        async with Database(database_url) as database:
            await eventually(lambda: _is_empty(database), timeout=30)
        async with running_gateway(server) as fresh:
            await assert_one_reset(Client(fresh), "TooOld", f"after={too_old}")


async def _is_empty(database: Database) -> bool:
    return await notification_log.oldest(database) is None


async def test_json_lines_tell_of_a_reset_too(client: Client) -> None:
    now = await client.announce_and_arrive(1)
    headers = {"Accept": "application/x-ndjson", "Last-Event-ID": "another-1"}
    async with client.http.get("/api/notifications", headers=headers) as response:
        await response.content.readline()
        line = await response.content.readline()
    assert line.decode() == f'{{"event":"reset","id":"{now}","data":{{"cursor":"{now}","reason":"OtherLog"}}}}\n'


async def stay_while(happens: Any, restartable: RestartableServer, reason: str) -> None:
    """Check that connected pages of every kind get one reset when the gateway's own position is lost."""
    async with running_gateway(restartable.address) as http:
        client = Client(http)
        await client.announce_and_arrive(2)
        async with client.listen() as page, client.listen("modelId=2") as models, client.listen("status=Ready") as some:
            pages = [page, models, some]
            for listener in pages:
                while "id" not in (await listener.frame()).fields:
                    pass
            await restartable.stop()
            await happens()
            await restartable.start()
            resets = [await listener.event("reset") for listener in pages]
            await client.announce(2)
            now = await client.cursor()
            assert {reset.data["reason"] for reset in resets} == {reason}
            assert {reset.id for reset in resets} == {str(Cursor.parse(now)._replace(seq=Cursor.parse(now).seq - 1))}
            for listener in pages:
                assert (await listener.event()).id == now
        for query in ("", "modelId=2", "status=Ready"):
            async with client.listen(query, **{"Last-Event-ID": resets[0].id}) as again:
                assert (await again.event()).id == now


async def test_pages_that_stay_while_the_log_is_pruned_away_are_told_once(
    restartable: RestartableServer, database_url: str
) -> None:
    async def much_happens() -> None:
        async with running_server(database_url) as other, running_gateway(other) as http:
            for _ in range(3):
                await Client(http).announce(2)
            await forget(database_url, await Client(http).cursor())

    await stay_while(much_happens, restartable, "TooOld")


async def test_pages_that_stay_while_another_log_begins_are_told_once(
    restartable: RestartableServer, database_url: str
) -> None:
    await stay_while(lambda: begin_another_log(database_url), restartable, "OtherLog")


async def test_a_cursor_of_the_new_log_is_taken_by_a_gateway_that_still_follows_the_old_one(
    restartable: RestartableServer, database_url: str
) -> None:
    """The gateway waits until it follows the new log. A reset would send the client back to the old one."""
    async with running_gateway(restartable.address) as http:
        client = Client(http)
        await client.announce_and_arrive(1)
        await restartable.stop()
        await begin_another_log(database_url)
        async with client.listen("after=another-0") as page:
            await restartable.start()
            async with running_server(database_url) as other, running_gateway(other) as other_http:
                await Client(other_http).announce(7)
            assert await page.models(1) == [7]
