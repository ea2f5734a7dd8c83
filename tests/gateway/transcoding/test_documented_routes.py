"""The worker routes exactly as in docs/thumbnail-job-endpoints.md: statuses, content types, texts, types."""

import re

import pytest

from tests.support.network.http_client import Client

PLAIN_TEXT = "text/plain; charset=utf-8"
RFC_3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")
RESULT = {"thumbnailPath": "/var/lib/thumbs/a.png", "sizeBytes": 45678, "width": 512, "height": 512}


async def test_dequeue_hands_out_a_job_with_the_documented_fields(client: Client) -> None:
    job_id = await client.enqueue(42)
    answer = await client.post("/api/thumbnail-jobs/dequeue", {"workerId": "worker-001"})
    assert (answer.status, answer.content_type) == (200, "application/json")
    job = answer.json
    assert job["id"] == job_id
    assert job["modelId"] == 42
    assert re.fullmatch("[0-9a-f]{64}", job["modelHash"])
    assert job["status"] == "Processing"
    assert job["attemptCount"] == 1
    assert RFC_3339.fullmatch(job["createdAt"])
    assert RFC_3339.fullmatch(job["updatedAt"])


async def test_dequeue_adds_what_newer_workers_need_and_leaves_out_what_is_unset(client: Client) -> None:
    await client.enqueue(42, priority=3, maxAttempts=5)
    job = await client.dequeue()
    assert job["assetType"] == "Model"
    assert (job["priority"], job["maxAttempts"]) == (3, 5)
    assert job["leaseToken"]
    assert RFC_3339.fullmatch(job["leaseExpiresAt"])
    assert not {"errorMessage", "finishedAt", "runAt"} & job.keys()


async def test_an_empty_queue_is_204_without_body_or_content_type(client: Client) -> None:
    answer = await client.post("/api/thumbnail-jobs/dequeue", {"workerId": "worker-001"})
    assert (answer.status, answer.body, answer.content_type) == (204, b"", None)


async def test_a_worker_without_a_name_gets_nothing(client: Client) -> None:
    job_id = await client.enqueue()
    for body in ({}, {"workerId": ""}, {"workerId": "  \t"}, {"workerId": None}):
        answer = await client.post("/api/thumbnail-jobs/dequeue", body)
        assert (answer.status, answer.content_type, answer.text) == (400, PLAIN_TEXT, "WorkerId is required"), body
    assert (await client.job(job_id))["status"] == "Pending"


async def test_a_missing_body_is_an_empty_one(client: Client) -> None:
    answer = await client.post("/api/thumbnail-jobs/dequeue")
    assert (answer.status, answer.text) == (400, "WorkerId is required")


async def test_complete_answers_with_exactly_the_three_documented_fields(client: Client) -> None:
    job_id = await client.enqueue(42)
    await client.dequeue()
    answer = await client.post(f"/api/thumbnail-jobs/{job_id}/complete", RESULT)
    assert (answer.status, answer.content_type) == (200, "application/json")
    assert answer.json == {
        "modelId": 42,
        "status": "Ready",
        "message": "Thumbnail job completed successfully",
    }


async def test_fail_answers_with_exactly_the_three_documented_fields(client: Client) -> None:
    job_id = await client.enqueue(42)
    await client.dequeue()
    answer = await client.post(f"/api/thumbnail-jobs/{job_id}/fail", {"errorMessage": "chrome_crashpad_handler"})
    assert (answer.status, answer.content_type) == (200, "application/json")
    assert answer.json == {"modelId": 42, "status": "Failed", "message": "Thumbnail job marked as failed"}


@pytest.mark.parametrize(("verb", "body"), [("complete", RESULT), ("fail", {"errorMessage": "broken"})])
async def test_an_unknown_job_is_400_with_its_number(client: Client, verb: str, body: dict[str, object]) -> None:
    answer = await client.post(f"/api/thumbnail-jobs/999/{verb}", body)
    assert (answer.status, answer.content_type) == (400, PLAIN_TEXT)
    assert answer.text == "Thumbnail job with ID 999 was not found."


async def test_a_job_that_nobody_works_on_cannot_be_completed(client: Client) -> None:
    job_id = await client.enqueue()
    answer = await client.post(f"/api/thumbnail-jobs/{job_id}/complete", RESULT)
    assert (answer.status, answer.content_type) == (400, PLAIN_TEXT)
    assert answer.text == "Job is not in processing state."


async def test_a_failure_needs_its_reason(client: Client) -> None:
    job_id = await client.enqueue()
    await client.dequeue()
    for body in ({}, {"errorMessage": ""}, {"errorMessage": None}, {"errorMessage": " "}):
        answer = await client.post(f"/api/thumbnail-jobs/{job_id}/fail", body)
        assert (answer.status, answer.content_type) == (400, PLAIN_TEXT), body
        assert answer.text == "Error message cannot be null or empty.", body
    assert (await client.job(job_id))["status"] == "Processing"


async def test_the_test_route_says_that_it_has_announced(client: Client) -> None:
    body = {"status": "Ready", "thumbnailUrl": "/models/1/thumbnail/file", "errorMessage": None}
    answer = await client.post("/api/test/thumbnail-complete/1", body)
    assert (answer.status, answer.content_type) == (200, "application/json")
    assert answer.json == {"message": "Test notification sent successfully"}


async def test_the_test_route_answers_errors_in_an_object(client: Client) -> None:
    for body in ({}, {"status": "Splendid"}, {"status": 99}, {"status": ["Ready"]}):
        answer = await client.post("/api/test/thumbnail-complete/1", body)
        assert (answer.status, answer.content_type) == (400, "application/json"), body
        assert answer.json.keys() == {"error"}, body
        assert answer.json["error"].startswith("status must be one of None, Pending, Processing, Ready, Failed"), body


async def test_a_model_that_nobody_asked_for_shows_as_pending(client: Client) -> None:
    answer = await client.get("/models/7/thumbnail")
    assert (answer.status, answer.headers["Cache-Control"]) == (200, "no-store")
    assert answer.json == {
        "status": "Pending",
        "fileUrl": None,
        "sizeBytes": None,
        "width": None,
        "height": None,
        "errorMessage": None,
        "createdAt": None,
        "processedAt": None,
        "cursor": await client.cursor(),
    }


async def test_a_ready_thumbnail_may_be_kept_and_is_recognised_by_its_tag(client: Client) -> None:
    job_id = await client.enqueue(42)
    await client.dequeue()
    await client.post(f"/api/thumbnail-jobs/{job_id}/complete", RESULT)
    answer = await client.get("/models/42/thumbnail")
    thumbnail = answer.json
    assert re.fullmatch(r"/models/42/thumbnail/file\?v=[0-9a-f]+", thumbnail.pop("fileUrl"))
    assert RFC_3339.fullmatch(thumbnail.pop("createdAt"))
    assert RFC_3339.fullmatch(thumbnail.pop("processedAt"))
    assert thumbnail.pop("cursor") == await client.cursor()
    assert thumbnail == {
        "status": "Ready",
        "sizeBytes": 45678,
        "width": 512,
        "height": 512,
        "errorMessage": None,
    }
    assert answer.headers["Cache-Control"] == "public, max-age=3600"
    tag = answer.headers["ETag"]
    await client.announce(7)
    again = await client.get("/models/42/thumbnail", headers={"If-None-Match": f'"other", {tag}'})
    assert (again.status, again.body, again.headers["ETag"]) == (304, b"", tag)
    assert (await client.get("/models/42/thumbnail", headers={"If-None-Match": '"other"'})).status == 200


async def test_a_failed_thumbnail_tells_why_and_is_not_kept(client: Client) -> None:
    job_id = await client.enqueue(42)
    await client.dequeue()
    await client.post(f"/api/thumbnail-jobs/{job_id}/fail", {"errorMessage": "no triangles"})
    answer = await client.get("/models/42/thumbnail")
    assert (answer.json["status"], answer.json["errorMessage"]) == ("Failed", "no triangles")
    assert answer.headers["Cache-Control"] == "no-store"
    assert "ETag" not in answer.headers


async def test_a_healthy_gateway_says_so(client: Client) -> None:
    for path in ("/health", "/healthz", "/readyz"):
        assert (await client.get(path)).status == 200, path


async def test_the_thumbnails_of_many_models_in_one_request(client):
    await client.enqueue(7)
    answer = await client.post("/models/thumbnails", {"modelIds": [8, 7]})
    assert (answer.status, answer.headers["Cache-Control"]) == (200, "no-store")
    alone = (await client.get("/models/7/thumbnail")).json
    cursor = alone.pop("cursor")
    assert answer.json["cursor"] == cursor
    first, second = answer.json["thumbnails"]
    assert (first["modelId"], first["status"], first["fileUrl"]) == (8, "Pending", None)
    assert second == {"modelId": 7} | alone
    assert (await client.post("/models/thumbnails", {"modelIds": []})).status == 400
