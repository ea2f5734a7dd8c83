"""Progress on the event stream: for pages that ask for it, and beside the log."""

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.support.network.http_client import Client, Listener
from tests.support.service.gateway import running_gateway
from tests.support.waiting import eventually


@pytest.fixture
async def client(server: str) -> AsyncIterator[Client]:
    async with running_gateway(server) as http:
        yield Client(http)


async def claimed(client: Client, *model_ids: int) -> dict[int, Any]:
    """Enqueue a job for each model, and claim it. Returns the jobs by their models."""
    await client.enqueue_many(model_ids)
    answer = await client.post("/api/thumbnail-jobs/dequeue-batch", {"workerId": "w1", "maxJobs": len(model_ids)})
    return {job["modelId"]: job for job in answer.json["jobs"]}


async def tell(client: Client, job: Any, progress: float, text: str = "") -> None:
    told = {"leaseToken": job["leaseToken"], "progress": progress, "progressText": text}

    async def is_taken() -> bool:
        answer = await client.post(f"/api/thumbnail-jobs/{job['id']}/progress", told)
        assert answer.status in (200, 503), answer.text
        return answer.status == 200

    await eventually(is_taken, 60)  # a gateway answers 503 while its server is away


async def hears(page: Listener, **wanted: Any) -> dict[str, Any]:
    """Read until the page gets this. Returns everything that it got, the newest of each model."""
    told: dict[str, Any] = {}
    while not wanted.items() <= told.items():
        frame = await page.frame()
        if frame.name == "progress":
            assert "id" not in frame.fields
            told[f"model{frame.data['modelId']}"] = frame.data["progress"]
    return told


async def test_a_page_that_asks_is_told_of_its_models_and_others_get_nothing_new(client: Client) -> None:
    jobs = await claimed(client, 1, 2)
    async with (
        client.listen("progress=true") as everything,
        client.listen("progress=1&modelId=2&status=Ready") as one,
        client.listen("modelId=1,2") as silent,
        client.post_subscription({"modelIds": [1], "progress": True}) as posted,
    ):
        await tell(client, jobs[1], 0.25, "reading")
        await tell(client, jobs[2], 0.5)
        assert await hears(everything, model1=0.25, model2=0.5)
        assert await hears(one, model2=0.5) == {"model2": 0.5}
        assert await hears(posted, model1=0.25) == {"model1": 0.25}

        # a page that comes later gets the present progress
        async with client.listen("progress=true&modelId=1") as late:
            while (frame := await late.frame()).name != "progress":
                pass
        told = frame.data
        assert told.pop("progressAt") > jobs[1]["createdAt"]
        assert told == {
            "modelId": 1,
            "jobId": jobs[1]["id"],
            "attemptCount": 1,
            "progress": 0.25,
            "progressText": "reading",
        }

        await client.post(f"/api/thumbnail-jobs/{jobs[1]['id']}/fail", {"errorMessage": "no", "retryable": False})
        assert (await silent.event()).data["status"] == "Failed"  # progress would have come first
        while (frame := await everything.frame()).name != "thumbnail":
            pass
        # the job has ended, so the next page is told of the other one alone
        async with client.listen("progress=true") as later:
            assert await hears(later, model2=0.5) == {"model2": 0.5}


async def test_json_lines_tell_it_too(client: Client) -> None:
    jobs = await claimed(client, 1)
    await tell(client, jobs[1], 1, "saving")
    async with client.http.get("/api/notifications?progress=true", headers={"Accept": "application/x-ndjson"}) as lines:
        while (line := json.loads(await lines.content.readline()))["event"] != "progress":
            pass
    assert (line["data"]["progress"], line["data"]["progressText"], "id" in line) == (1, "saving", False)


async def test_progress_goes_on_after_the_server_was_away(restartable: Any) -> None:
    async with running_gateway(restartable.address) as http:
        client = Client(http)
        jobs = await claimed(client, 1)
        async with client.listen("progress=true") as page:
            await tell(client, jobs[1], 0.25)
            await hears(page, model1=0.25)
            await restartable.stop()
            await restartable.start()
            await tell(client, jobs[1], 0.75)
            await hears(page, model1=0.75)


async def test_an_unclear_wish_is_refused(client: Client) -> None:
    answer = await client.get("/api/notifications?progress=maybe")
    assert (answer.status, answer.json["message"]) == (400, "progress must be true or false.")
