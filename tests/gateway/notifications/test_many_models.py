"""Subscriptions to many models: in the address as far as they fit, and in a body beyond."""

import pytest

from tests.support.network.http_client import Client
from tests.support.service.gateway import running_gateway
from tests.support.waiting import eventually
from thumbq_gateway.notifications import named_streams
from thumbq_gateway.notifications.request import MOST_MODELS

MANY = range(1_000_000, 1_000_000 + MOST_MODELS)


async def test_three_thousand_models_fit_into_an_address(client: Client) -> None:
    named = ",".join(map(str, MANY[:3_000]))
    async with client.listen(f"modelId={named}") as page:
        await client.announce(1)
        await client.announce(MANY[2_999])
        assert await page.models(1) == [MANY[2_999]]


async def test_ten_thousand_models_fit_into_a_body(client: Client) -> None:
    async with client.post_subscription({"modelIds": list(MANY), "statuses": ["Ready", "Failed"]}) as page:
        await client.announce(1)
        await client.announce(MANY[5], "Pending")
        for model_id in (MANY[0], MANY[-1]):
            await client.announce(model_id)
        assert await page.models(2) == [MANY[0], MANY[-1]]


async def test_a_posted_subscription_goes_on_from_its_cursor_and_watches_the_queue(client: Client) -> None:
    cursor = await client.cursor()
    await client.announce(1)
    await client.announce(2)
    async with client.post_subscription({"model_ids": [2], "after": cursor, "queue": True}) as page:
        expected = {"queue", "thumbnail"}
        while expected:
            expected.discard((await page.frame()).name)


@pytest.mark.changes_nothing
async def test_more_models_are_refused_with_the_documented_error(client: Client) -> None:
    answer = await client.post("/api/notifications", {"modelIds": list(range(1, MOST_MODELS + 2))})
    assert answer.status == 400
    assert answer.json == {
        "code": 3,
        "message": "modelIds must name at most 10,000 models.",
        "status": "INVALID_ARGUMENT",
    }
    named = ",".join(map(str, range(1, MOST_MODELS + 2)))
    answer = await client.get(f"/api/notifications?modelId={named}")
    assert (answer.status, answer.json["message"]) == (400, "modelId must name at most 10,000 models.")


@pytest.mark.changes_nothing
@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ([], "The request body must be a JSON object."),
        ({"modelIds": [1, 0]}, "modelIds[1] must be between 1 and 9223372036854775807."),
        ({"modelIds": "1,2"}, "modelIds must be a list."),
        ({"statuses": ["Ready", "Splendid"]}, "statuses[1] must be one of None, Pending, Processing, Ready, Failed."),
        ({"after": "x"}, 'after must be a cursor such as "5f0c21ab-42", or "earliest", or "latest".'),
        ({"queue": "yes"}, "queue must be true or false."),
    ],
)
async def test_a_posted_subscription_that_does_not_fit_is_refused(client: Client, body: object, sentence: str) -> None:
    answer = await client.post("/api/notifications", body)
    assert (answer.status, answer.json["message"]) == (400, sentence)


async def test_all_large_subscriptions_together_have_a_limit_and_small_ones_are_always_served(
    server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(named_streams, "_MOST_MODELS", 25_000)
    async with running_gateway(server) as http:
        client = Client(http)
        everything = {"modelIds": list(MANY)}
        async with client.post_subscription(everything), client.post_subscription(everything):
            answer = await client.post("/api/notifications", everything)
            assert (answer.status, answer.json["status"]) == (503, "UNAVAILABLE")
            async with client.listen("modelId=1,2,3") as page:
                await client.announce(3)
                assert await page.models(1) == [3]

        async def has_room() -> bool:
            async with http.post("/api/notifications", json=everything) as response:
                return response.status == 200

        assert await eventually(has_room)
