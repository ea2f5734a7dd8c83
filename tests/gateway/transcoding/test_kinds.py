"""Kinds and options in JSON."""

import json

import pytest

from tests.support.network.http_client import Client, Json, digest

OPTIONS = {
    "size": 512,
    "distance": 1.2345e25,
    "views": ["front", "top"],
    "light": {"warm": True, "strength": 0.5, "from": None},
    "": "ü",
}


async def enqueue(client: Client, model_id: int = 1, **fields: object) -> Json:
    answer = await client.post("/api/thumbnail-jobs", {"modelId": model_id, "modelHash": digest(model_id), **fields})
    assert answer.status == 200, answer.text
    enqueued: Json = answer.json
    return enqueued


async def dequeue(client: Client, **fields: object) -> Json | None:
    answer = await client.post("/api/thumbnail-jobs/dequeue", {"workerId": "w", **fields})
    assert answer.status in (200, 204), answer.text
    job: Json | None = answer.json if answer.status == 200 else None
    return job


async def test_a_dequeue_takes_models_unless_it_names_kinds(client: Client) -> None:
    await enqueue(client, 1, assetType="Sound")
    assert await dequeue(client) is None
    job = await dequeue(client, assetTypes=["Texture", "Sound"])
    assert job
    assert (job["modelId"], job["assetType"]) == (1, "Sound")
    assert "options" not in job


async def test_options_come_back_as_they_were_sent(client: Client) -> None:
    answer = await enqueue(client, options=OPTIONS)
    assert answer["kindsKnown"] is True
    job = await dequeue(client)
    assert job
    assert job["options"] == OPTIONS
    assert isinstance(job["options"]["size"], int)
    assert (await client.job(job["id"]))["options"] == OPTIONS
    assert (await client.get("/api/thumbnail-jobs")).json["jobs"][0]["options"] == OPTIONS


async def test_other_options_start_a_job_again_if_they_matter(client: Client) -> None:
    outcomes = [
        (await enqueue(client, options={"size": size}, optionsMatter=matter))["outcome"]
        for size, matter in ((1, True), (1, True), (2, False), (2, True))
    ]
    assert outcomes == ["Created", "Existing", "Existing", "Reset"]


async def test_a_batch_may_have_jobs_of_several_kinds(client: Client) -> None:
    jobs = [{"modelId": number, "modelHash": digest(number), "assetType": kind} for number, kind in ((1, "A"), (2, ""))]
    assert (await client.post("/api/thumbnail-jobs", {"jobs": jobs})).status == 200
    wanted = {"workerId": "w", "maxJobs": 5, "assetTypes": ["A"]}
    claimed = await client.post("/api/thumbnail-jobs/dequeue-batch", wanted)
    assert [job["modelId"] for job in claimed.json["jobs"]] == [1]


async def test_a_picture_that_is_made_again_keeps_kind_and_options(client: Client) -> None:
    job_id = (await enqueue(client, 7, assetType="Sound", options={"size": 1}))["jobId"]
    assert (await client.post("/models/7/thumbnail/regenerate")).status == 200
    job = await client.job(job_id)
    assert (job["assetType"], job["options"]) == ("Sound", {"size": 1})


async def test_a_picture_that_is_made_again_is_in_the_trace_of_who_asks_for_it(client: Client) -> None:
    job_id = (await enqueue(client, 7))["jobId"]
    trace = f"00-{'1' * 32}-{'2' * 16}-01"
    await client.post(f"/api/thumbnail-jobs/{job_id}/cancel")
    await client.post("/models/7/thumbnail/regenerate", headers={"traceparent": trace})
    job = await dequeue(client)
    assert job
    assert job["traceParent"] == trace


def nested(levels: int) -> Json:
    return {"a": nested(levels - 1)} if levels > 1 else {}


REFUSED = {
    "a list": '{"options": [1]}',
    "a text": '{"options": "{}"}',
    "six levels": json.dumps({"options": nested(6)}),
    "forty levels": json.dumps({"options": nested(40)}),
    "4 KiB and more": json.dumps({"options": {"a": "x" * 4096}}),
    "too many values": json.dumps({"options": {"a": [0] * 300}}),
    "a number beyond a double": '{"options": {"a": 1e400}}',
    "a number that a double rounds": '{"options": {"a": 9007199254740993}}',
    "one with a point that a double rounds": '{"options": {"a": 9007199254740993.0}}',
    "one with an exponent that a double rounds": '{"options": {"a": [-9007199254740993e0]}}',
    "half a surrogate": '{"options": {"a": "\\ud800"}}',
    "half a surrogate as a name": '{"options": {"\\ud800": 1}}',
    "a kind that is no text": '{"assetType": 5}',
    "a kind that is too long": json.dumps({"assetType": "x" * 51}),
}


@pytest.mark.changes_nothing
@pytest.mark.parametrize("case", REFUSED)
async def test_a_job_is_refused_with(client: Client, case: str) -> None:
    body = {"modelId": 1, "modelHash": digest(1)}
    data = json.dumps(body)[:-1] + "," + REFUSED[case][1:]
    answer = await client.post("/api/thumbnail-jobs", data=data.encode(), headers={"Content-Type": "application/json"})
    assert answer.status == 400, answer.text
    assert "options" in answer.text or "assetType" in answer.text
    assert (await client.get("/api/thumbnail-jobs")).json["jobs"] == []


@pytest.mark.changes_nothing
@pytest.mark.parametrize("kinds", [[""], ["x" * 51], [str(number) for number in range(21)], "Sound", [5]])
async def test_kinds_of_a_dequeue_are_bounded(client: Client, kinds: object) -> None:
    answer = await client.post("/api/thumbnail-jobs/dequeue", {"workerId": "w", "assetTypes": kinds})
    assert answer.status == 400
    assert "assetType" in answer.text
