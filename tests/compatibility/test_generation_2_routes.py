"""The routes of generation 2: without the prefix, reports in one call, and neighbours that have nothing."""

import pytest

from tests.support.network.http_client import Client, ask

UNKNOWN = {"sizeBytes": None, "width": None, "height": None, "errorMessage": None}
SUCCESS = {"success": True, "thumbnailPath": "/uploads/a.webp", **UNKNOWN}


async def dequeue(client: Client) -> dict[str, object]:
    answer = await client.post("/thumbnail-jobs/dequeue", {"workerId": "worker-2"})
    assert answer.status == 200, answer.text
    job: dict[str, object] = answer.json
    return job


async def test_a_job_is_fetched_and_finished_without_the_prefix(client: Client) -> None:
    job_id = await client.enqueue(42)
    job = await dequeue(client)
    assert (job["id"], job["assetType"]) == (job_id, "Model")
    answer = await client.post(f"/thumbnail-jobs/{job_id}/finish", SUCCESS)
    assert (answer.status, answer.json) == (
        200,
        {
            "modelId": 42,
            "status": "Ready",
            "message": "Thumbnail job completed successfully",
            "modelVersionId": None,
        },
    )
    thumbnail = (await client.get("/models/42/thumbnail")).json
    assert (thumbnail["sizeBytes"], thumbnail["width"], thumbnail["height"]) == (0, 256, 256)
    assert (await client.post("/thumbnail-jobs/dequeue", {"workerId": "w"})).status == 204


async def test_names_are_read_in_any_case_and_numbers_from_texts(client: Client) -> None:
    job_id = await client.enqueue(42)
    await dequeue(client)
    body = {"Success": True, "ThumbnailPath": "/a.webp", "SizeBytes": "7", "WIDTH": "64", "height": 48, "x": 1}
    assert (await client.post(f"/api/thumbnail-jobs/{job_id}/finish", body)).status == 200
    assert (await client.get("/models/42/thumbnail")).json["sizeBytes"] == 7


@pytest.mark.parametrize("success", [True, False])
async def test_an_id_in_the_body_is_passed_over(client: Client, success: bool) -> None:
    job_id = await client.enqueue(42)
    await dequeue(client)
    body = SUCCESS | {"success": success, "jobId": f"job-{job_id}"}
    assert (await client.post(f"/thumbnail-jobs/{job_id}/finish", body)).status == 200


async def test_a_failure_is_finished_with_its_reason_or_without_one(client: Client) -> None:
    for model_id, reason in ((1, "no triangles"), (2, None)):
        await client.enqueue(model_id)
        job = await dequeue(client)
        body = {"success": False, "thumbnailPath": None, **UNKNOWN, "errorMessage": reason}
        answer = await client.post(f"/thumbnail-jobs/{job['id']}/finish", body)
        assert (answer.status, answer.json["status"]) == (200, "Failed")
        shown = (await client.get(f"/models/{model_id}/thumbnail")).json
        assert shown["errorMessage"] == (reason or "The worker gave no reason.")


async def test_a_stack_trace_is_cut_rather_than_refused(client: Client) -> None:
    job_id = await client.enqueue(42)
    await dequeue(client)
    trace = "Error: no\n" + "    at render (file.js:1:1)\n" * 200
    answer = await client.post(f"/thumbnail-jobs/{job_id}/finish", {"success": False, "errorMessage": trace})
    assert answer.status == 200
    assert (await client.job(job_id))["status"] != "Processing"


async def test_a_report_on_a_deleted_model_is_taken_with_status_failed(client: Client) -> None:
    job_id = await client.enqueue(42)
    await dequeue(client)
    await client.post("/api/models/42/cancel-jobs")
    answer = await client.post(f"/thumbnail-jobs/{job_id}/finish", SUCCESS)
    assert (answer.status, answer.json["status"], answer.json["modelId"]) == (200, "Failed", 42)
    assert (await client.job(job_id))["status"] == "Cancelled"


async def test_a_report_on_a_model_that_was_forgotten_finds_no_job_and_shows_nothing(client: Client) -> None:
    job_id = await client.enqueue(42)
    await dequeue(client)
    assert (await ask(client.http, "DELETE", "/models/42/thumbnail")).json["jobIds"] == [job_id]
    answer = await client.post(f"/thumbnail-jobs/{job_id}/finish", SUCCESS)
    assert (answer.status, answer.json["error"]) == (404, "NOT_FOUND")
    assert (await client.get("/models/42/thumbnail")).json["status"] == "Pending"


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({}, "success is missing."),
        ({"success": "perhaps"}, "success must be true or false."),
        ([], "The request body must be a JSON object."),
        ({"success": True}, "thumbnailPath is required"),
    ],
)
async def test_a_report_that_makes_no_sense_is_refused_in_json(client: Client, body: object, message: str) -> None:
    job_id = await client.enqueue(42)
    await dequeue(client)
    answer = await client.post(f"/thumbnail-jobs/{job_id}/finish", body)
    assert (answer.status, answer.json["error"]) == (400, "INVALID_ARGUMENT")
    assert answer.json["message"].lower().startswith(message.lower()[:16]), answer.json
    assert (await client.job(job_id))["status"] == "Processing"


async def test_a_report_on_no_job_or_an_ended_one_is_refused(client: Client) -> None:
    assert (await client.post("/thumbnail-jobs/999/finish", SUCCESS)).status == 404
    assert (await client.post("/thumbnail-jobs/x/finish", SUCCESS)).status == 404
    assert (await ask(client.http, "GET", "/thumbnail-jobs/1/finish")).status == 405
    job_id = await client.enqueue(42)
    await dequeue(client)
    assert (await client.post(f"/thumbnail-jobs/{job_id}/finish", SUCCESS)).status == 200
    late = await client.post(f"/thumbnail-jobs/{job_id}/finish", {"success": False, "errorMessage": "late"})
    assert (late.status, late.json["error"]) == (400, "FAILED_PRECONDITION")
    assert (await client.get("/models/42/thumbnail")).json["status"] == "Ready"


@pytest.mark.parametrize("kind", ["sounds", "texture-sets", "environment-maps"])
@pytest.mark.parametrize("prefix", ["", "/api"])
async def test_other_kinds_have_no_jobs(client: Client, kind: str, prefix: str) -> None:
    for path in ("dequeue", "7/finish"):
        answer = await client.post(f"{prefix}/thumbnail-jobs/{kind}/{path}", {"workerId": "w"})
        assert (answer.status, answer.json["code"]) == (404, 5)
        assert "models only" in answer.json["message"]


async def test_what_it_asks_the_application_for_is_not_found(client: Client) -> None:
    for path in ("/settings/blender-enabled", "/settings/thumbnail-render"):
        assert (await client.get(path)).status == 404
    assert (await client.post("/extraction-jobs/dequeue", {"workerId": "w"})).status == 404


async def test_the_api_description_is_where_aspnet_has_it(client: Client) -> None:
    answer = await client.get("/openapi/v1.json")
    assert (answer.status, answer.json) == (200, (await client.get("/openapi.json")).json)


async def test_a_thumbnail_is_made_again_when_asked_and_announced(client: Client) -> None:
    assert (await client.post("/models/42/thumbnail/regenerate")).status == 404
    job_id = await client.enqueue(42)
    await dequeue(client)
    await client.post(f"/thumbnail-jobs/{job_id}/finish", SUCCESS)
    async with client.listen(f"modelId=42&after={await client.cursor()}") as page:
        answer = await client.post("/models/42/thumbnail/regenerate?versionId=7")
        assert (answer.status, answer.json["jobId"], answer.json["status"]) == (200, job_id, "Pending")
        assert (await page.event()).data["status"] == "Pending"
    assert (await dequeue(client))["id"] == job_id
