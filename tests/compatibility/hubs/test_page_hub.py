"""/thumbnailHub: what pages hear of, and when."""

import json
from typing import Any

import pytest

from tests.compatibility.hubs.wire import HANDSHAKE, Hub, negotiate
from tests.support.network.http_client import Client, ask
from tests.support.service.gateway import RestartableServer, running_gateway
from tests.support.waiting import eventually
from thumbq_gateway.signalr.hubs import hub

RESULT = {"thumbnailPath": "/var/lib/modelibr/uploads/de/bb/debbbb1c", "sizeBytes": 45678, "width": 256, "height": 256}
FIELDS = {"modelId", "modelVersionId", "status", "thumbnailUrl", "errorMessage", "timestamp"}
JOINABLE = [
    ("ModelVersionGroup", ["7"]),
    ("ModelActiveVersionGroup", ["42"]),
    ("AllModelsGroup", []),
    ("AllEnvironmentMapsGroup", []),
]


async def test_who_joins_a_model_hears_how_it_stands_and_then_of_each_change(client: Client) -> None:
    async with Hub.connected(client.http, "/thumbnailHub") as page:
        (present,) = await page.call("JoinModelGroup", "42")
        assert present["target"] == "ThumbnailStatusChanged"
        (status,) = present["arguments"]
        assert status.keys() == FIELDS
        assert (status["modelId"], status["status"], status["thumbnailUrl"]) == (42, "Pending", None)

        job_id = await client.enqueue(42)
        assert (await page.event("ThumbnailStatusChanged"))["status"] == "Pending"
        await client.dequeue()
        await client.post(f"/api/thumbnail-jobs/{job_id}/complete", RESULT)
        ready = await page.event("ThumbnailStatusChanged")
        assert (ready["modelId"], ready["status"], ready["errorMessage"]) == (42, "Ready", None)
        assert ready["thumbnailUrl"].startswith("/models/42/thumbnail/file")
        assert ready["timestamp"].endswith("Z")


@pytest.mark.parametrize("model_id", [2**53 + 1, 2**63 - 1])
async def test_a_model_with_a_large_id_is_told_in_full_at_once_and_later(client: Client, model_id: int) -> None:
    async with Hub.connected(client.http, "/thumbnailHub") as page:
        for written in (str(model_id), model_id):
            (present,) = await page.call("JoinModelGroup", written)
            assert present["arguments"][0]["modelId"] == str(model_id)  # JavaScript would round a number
        await client.announce(model_id)
        assert (await page.event("ThumbnailStatusChanged"))["modelId"] == str(model_id)


async def test_a_model_that_is_forgotten_is_pending_for_who_has_joined_and_for_who_joins(client: Client) -> None:
    async with Hub.connected(client.http, "/thumbnailHub") as page:
        await page.call("JoinModelGroup", "42")
        job_id = await client.enqueue(42)
        await client.dequeue()
        await client.post(f"/api/thumbnail-jobs/{job_id}/complete", RESULT)
        while (await page.event("ThumbnailStatusChanged"))["status"] != "Ready":
            pass
        await ask(client.http, "DELETE", "/models/42/thumbnail")
        told = await page.event("ThumbnailStatusChanged")
        assert (told["modelId"], told["status"], told["thumbnailUrl"]) == (42, "Pending", None)
    async with Hub.connected(client.http, "/thumbnailHub") as page:
        (present,) = await page.call("JoinModelGroup", "42")
        assert present["arguments"][0]["status"] == "Pending"


async def test_all_pages_together_are_in_a_bounded_number_of_groups(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub, "MOST_JOINED", 3)
    async with Hub.connected(client.http, "/thumbnailHub") as greedy:
        for model_id in (1, 2, 2, 3):
            await greedy.call("JoinModelGroup", model_id)
        async with Hub.connected(client.http, "/thumbnailHub") as page:
            await page.invoke("JoinModelGroup", 4)
            assert "as many groups as they may be" in (await page.message())["error"]
            await greedy.call("LeaveModelGroup", 2)
            await greedy.call("LeaveModelGroup", 2)
            await page.call("JoinModelGroup", 4)
            await page.invoke("JoinModelGroup", 5)
            assert "as many groups as they may be" in (await page.message())["error"]
    async with Hub.connected(client.http, "/thumbnailHub") as page:

        async def has_room() -> bool:
            await page.invoke("JoinAllModelsGroup")
            while (message := await page.message()).get("type") != 3:
                pass
            return "error" not in message

        await eventually(has_room)


async def test_a_page_that_reconnects_is_healed_by_joining_again(client: Client) -> None:
    async with Hub.connected(client.http, "/thumbnailHub") as page:
        await page.call("JoinModelGroup", "42")
    job_id = await client.enqueue(42)
    await client.dequeue()
    await client.post(f"/api/thumbnail-jobs/{job_id}/fail", {"errorMessage": "no triangles", "retryable": False})
    async with Hub.connected(client.http, "/thumbnailHub") as page:
        present = (await page.call("JoinModelGroup", 42))[-1]
        (status,) = present["arguments"]
        assert (status["status"], status["errorMessage"]) == ("Failed", "no triangles")


async def test_who_joins_all_models_hears_of_all_and_of_what_happened_while_it_was_away(client: Client) -> None:
    await client.enqueue(1)
    async with Hub.connected(client.http, "/thumbnailHub") as page:
        before = await page.call("JoinAllModelsGroup")
        heard = {message["arguments"][0]["modelId"] for message in before}
        while 1 not in heard:  # the gateway may hear of it only now
            heard.add((await page.event("ThumbnailStatusChanged"))["modelId"])
        await client.enqueue(2)
        assert (await page.event("ThumbnailStatusChanged"))["modelId"] == 2
    await client.enqueue(3)
    await client.enqueue(4)
    await client.announce_and_arrive(5)
    async with Hub.connected(client.http, "/thumbnailHub") as page:
        missed = [message["arguments"][0]["modelId"] for message in await page.call("JoinAllModelsGroup")]
        assert missed == [1, 2, 3, 4, 5]


async def test_a_page_in_two_groups_hears_of_a_change_once(client: Client) -> None:
    async with Hub.connected(client.http, "/thumbnailHub") as page:
        await page.call("JoinModelGroup", "42")
        await page.call("JoinAllModelsGroup")
        await client.announce(42)
        await client.announce(43)
        assert [(await page.event("ThumbnailStatusChanged"))["modelId"] for _ in range(2)] == [42, 43]


async def test_who_leaves_hears_nothing_more(client: Client) -> None:
    async with Hub.connected(client.http, "/thumbnailHub") as page:
        for model_id in ("42", "43"):
            await page.call("JoinModelGroup", model_id)
        await page.call("LeaveModelGroup", "42")
        await client.announce(42)
        await client.announce(43)
        assert (await page.event("ThumbnailStatusChanged"))["modelId"] == 43


@pytest.mark.parametrize(("group", "arguments"), JOINABLE)
async def test_a_group_that_a_page_knows_is_joined_and_left_without_an_error(
    client: Client, group: str, arguments: list[str]
) -> None:
    async with Hub.connected(client.http, "/thumbnailHub") as page:
        await page.call(f"Leave{group}", *arguments)
        await page.call(f"Join{group}", *arguments)
        await page.call(f"Leave{group}", *arguments)


async def test_a_group_of_a_name_that_is_no_id_is_joined_and_stays_silent(client: Client) -> None:
    async with Hub.connected(client.http, "/thumbnailHub") as page:
        assert await page.call("JoinModelGroup", "undefined") == []


async def test_many_who_join_at_once_are_all_told(client: Client) -> None:
    await client.enqueue(42)
    async with Hub.connected(client.http, "/thumbnailHub") as page:
        for number in range(50):
            await page.invoke("JoinModelGroup", str(42 + number % 5), id=str(number))
        told: list[int] = []
        answered: list[str] = []
        while len(answered) < 50:
            message = await page.message()
            if message["type"] == 3:
                answered.append(message["invocationId"])
            else:
                told.append(message["arguments"][0]["modelId"])
        assert answered == [str(number) for number in range(50)]
        assert all(told.count(model_id) >= 10 for model_id in range(42, 47))


def joins_of(model_ids: range) -> list[dict[str, Any]]:
    return [
        {"type": 1, "target": "JoinModelGroup", "invocationId": str(model_id), "arguments": [str(model_id)]}
        for model_id in model_ids
    ]


async def test_a_page_may_join_the_groups_of_hundreds_of_models_in_one_frame(client: Client) -> None:
    """As SignalR's own client does, which puts into one frame what is sent at one time."""
    async with Hub.connected(client.http, "/thumbnailHub") as page:
        await page.send(*joins_of(range(1, 451)))
        answered = [
            message["invocationId"] for message in [await page.message() for _ in range(900)] if message["type"] == 3
        ]
        assert answered == [str(model_id) for model_id in range(1, 451)]


async def test_a_page_may_join_the_groups_of_hundreds_of_models_in_one_request(client: Client) -> None:
    token = (await negotiate(client.http, "/thumbnailHub"))["connectionToken"]
    address = f"/thumbnailHub?id={token}"
    assert (await client.get(address)).status == 200
    delivery = "".join(json.dumps(message) + "\x1e" for message in [HANDSHAKE, *joins_of(range(1, 451))])
    sent = await client.http.post(address, data=delivery)
    assert sent.status == 200
    answered: list[str] = []
    while len(answered) < 450:
        records = [json.loads(record) for record in (await client.get(address)).text.split("\x1e")[:-1]]
        answered += [record["invocationId"] for record in records if record.get("type") == 3]
    assert answered == [str(model_id) for model_id in range(1, 451)]


async def test_pages_stay_connected_while_the_server_is_away_and_miss_nothing(restartable: RestartableServer) -> None:
    async with running_gateway(restartable.address) as http, Hub.connected(http, "/thumbnailHub") as page:
        client = Client(http)
        await page.call("JoinAllModelsGroup")
        await client.announce(1)
        assert (await page.event("ThumbnailStatusChanged"))["modelId"] == 1
        await restartable.stop()
        await page.call("JoinModelGroup", "2")  # its status is unknown, which is no error
        await restartable.start()
        while (await client.post("/api/test/thumbnail-complete/3", {"status": "Ready"})).status != 200:
            pass
        assert (await page.event("ThumbnailStatusChanged"))["modelId"] == 3
