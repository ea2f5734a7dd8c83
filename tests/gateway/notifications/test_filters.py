"""Pages that name models and statuses see these alone, and resume where they were."""

from typing import Any

import pytest

from tests.support.conditions import until
from tests.support.network.http_client import Client
from tests.support.service.gateway import running_gateway
from thumbq_gateway.notifications import named_streams
from thumbq_gateway.notifications.cursor import Cursor


async def test_a_page_sees_only_the_models_that_it_names(client: Client) -> None:
    await client.announce(2)
    await client.announce(3)
    async with client.listen("modelId=1,2&modelId=4&after=earliest") as page:
        assert await page.models(1) == [2]
        for model_id in (3, 4, 5, 1):
            await client.announce(model_id)
        assert await page.models(2) == [4, 1]


async def test_a_page_sees_only_the_statuses_that_it_names(client: Client) -> None:
    for number, status in enumerate(["Pending", "Ready", "Failed"], 1):
        await client.announce(number, status)
    async with (
        client.listen("status=ready&status=Failed&after=earliest") as page,
        client.listen("status=Ready&modelId=5,6&after=earliest") as other,
    ):
        assert await page.models(2) == [2, 3]
        for model_id, status in [(5, "Processing"), (6, "Ready"), (5, "Failed"), (5, "Ready")]:
            await client.announce(model_id, status)
        assert await page.models(3) == [6, 5, 5]
        assert await other.models(2) == [6, 5]


@pytest.mark.parametrize("query", ["modelId=1", "status=Failed", "status=Failed&modelId=1&queue=true"])
async def test_bare_ids_move_the_cursor_of_a_filtered_page(server: str, query: str) -> None:
    async with running_gateway(server, heartbeat=0.15) as http:
        client = Client(http)
        async with client.listen(query) as page:
            await client.announce(2)
            wanted = await client.cursor()
            while (frame := await page.frame()).fields.get("id") != wanted:
                assert frame.name in {"", "heartbeat", "queue"}
        async with client.listen(query, **{"Last-Event-ID": wanted}) as page:
            await client.announce(1, "Failed")
            while (frame := await page.frame()).name != "thumbnail":
                pass
            assert frame.data["modelId"] == 1


async def test_the_cursor_of_a_filtered_page_is_never_ahead_of_what_it_was_sent(server: str) -> None:
    """A cursor that is ahead would skip events if the connection broke in the middle of a long replay."""
    total = 400
    async with running_gateway(server, ring_notifications=150) as http:
        client = Client(http)
        await client.enqueue_many(range(1, total + 1))
        await client.announce_and_arrive(total + 1)
        async with client.listen("status=Pending&after=earliest") as page:
            seen = 0
            while seen < total:
                frame = await page.frame()
                if frame.name == "thumbnail":
                    seen += 1
                if "id" in frame.fields:
                    assert Cursor.parse(frame.id).seq == seen


async def test_bare_ids_follow_a_filtered_replay(client: Client) -> None:
    await client.announce(1)
    await client.announce(2)
    cursor = await client.announce_and_arrive(3)
    async with client.listen("modelId=1&after=earliest") as page:
        assert await page.models(1) == [1]
        assert (await page.frame()).fields == {"id": cursor}


NAME = "0123456789abcdef"


async def test_a_page_changes_its_models_over_the_same_connection(client: Client) -> None:
    async with client.listen(f"modelId=1,2&queue=true&stream={NAME}") as page:
        await page.event("queue")
        answer = await client.post("/api/notifications/models", {"stream": NAME, "modelIds": [2, 3]})
        assert answer.status == 204
        for model_id in (1, 2, 3):
            await client.announce(model_id)
        assert await page.models(2) == [2, 3]
        await client.enqueue(9)
        assert (await page.event("queue")).data["pending"] == 1


@pytest.mark.changes_nothing
@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"stream": NAME, "modelIds": [1]}, 404),
        ({"modelIds": [1]}, 400),
        ({"stream": "short", "modelIds": [1]}, 400),
        ({"stream": NAME, "modelIds": []}, 400),
        ({"stream": NAME, "modelIds": [0]}, 400),
        ({"stream": NAME, "modelIds": list(range(1, 10_002))}, 400),
        ({"stream": 7, "modelIds": [1]}, 400),
    ],
)
async def test_a_change_of_models_that_cannot_be_is_refused(client: Client, body: Any, status: int) -> None:
    assert (await client.post("/api/notifications/models", body)).status == status


async def test_the_name_of_a_stream_is_forgotten_when_it_ends(client: Client) -> None:
    async with client.listen(f"modelId=1&stream={NAME}"):
        assert (await client.post("/api/notifications/models", {"stream": NAME, "modelIds": [2]})).status == 204

    async def gone() -> bool:
        answer = await client.post("/api/notifications/models", {"stream": NAME, "modelIds": [2]})
        return answer.status == 404

    await until(gone)


async def test_models_that_a_change_adds_count_towards_the_limit_until_the_stream_ends(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(named_streams, "_MOST_MODELS", 1_000)
    many = {"stream": NAME, "modelIds": list(range(1, 1_001))}
    async with client.listen(f"modelId=1&stream={NAME}"):
        assert (await client.post("/api/notifications/models", many)).status == 204
        assert (await client.post("/api/notifications/models", many)).status == 204
        assert (await client.post("/api/notifications", {"modelIds": list(range(1, 200))})).status == 503
        assert (await client.post("/api/notifications/models", {"stream": NAME, "modelIds": [1]})).status == 204
        async with client.post_subscription({"modelIds": list(range(1, 1_001))}):
            assert (await client.post("/api/notifications/models", many)).status == 503
