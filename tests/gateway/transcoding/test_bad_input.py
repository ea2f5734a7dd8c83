"""Bad input gets a clear error; no job is lost or claimed by it."""

import io
import json
from typing import Any
from unittest.mock import ANY

import pytest

from tests.support.network.http_client import Client

RESULT = {"thumbnailPath": "/var/lib/thumbs/a.png", "sizeBytes": 45678, "width": 512, "height": 512}
PLAIN_TEXT = "text/plain; charset=utf-8"
DEQUEUE = "/api/thumbnail-jobs/dequeue"


@pytest.mark.parametrize("is_full", [False, True])
async def test_a_bad_dequeue_claims_nothing(client: Client, is_full: bool) -> None:
    job_id = await client.enqueue() if is_full else None
    bad: list[tuple[Any, str]] = [
        ({"workerId": " \n"}, "WorkerId is required"),
        ({}, "WorkerId is required"),
        ({"workerId": "w" * 101}, ANY),
        ({"workerId": 7}, "workerId must be a string."),
        ({"workerId": ["w"]}, "workerId must be a string."),
        ({"workerId": "w", "wait": "a while"}, 'wait must be a duration such as "30s", or a number of seconds.'),
        ({"workerId": "w", "wait": -1}, ANY),
        ({"workerId": "w", "wait": 31}, ANY),
    ]
    for body, text in bad:
        answer = await client.post(DEQUEUE, body)
        assert (answer.status, answer.content_type, answer.text) == (400, PLAIN_TEXT, text), body
    if job_id:
        job = await client.job(job_id)
        assert (job["status"], job["attemptCount"]) == ("Pending", 0)


async def test_malformed_json_is_refused_with_a_sentence(client: Client) -> None:
    job_id = await client.enqueue()
    bad = [
        (b"{", "The request body is not valid JSON: "),
        (b'{"workerId": "w"', "The request body is not valid JSON: "),
        (b'{"workerId": "w"} x', "The request body is not valid JSON: "),
        (b'{"workerId": NaN}', "The request body is not valid JSON: NaN is not a number."),
        (b"\xff\xfe", "The request body is not valid UTF-8."),
        (b"[]", "The request body must be a JSON object."),
        (b'"w"', "The request body must be a JSON object."),
        (b"null", "The request body must be a JSON object."),
        (b"[" * 100_000, "The request body has more than 100 levels."),
        (b'{"wait": ' + b"9" * 5_000 + b"}", "The request body is not valid JSON: "),
    ]
    for body, problem in bad:
        answer = await client.post(DEQUEUE, data=body)
        assert (answer.status, answer.content_type) == (400, PLAIN_TEXT), body[:20]
        assert answer.text.startswith(problem), body[:20]
    assert (await client.job(job_id))["status"] == "Pending"


@pytest.mark.changes_nothing
async def test_nothing_is_read_as_an_empty_object(client: Client) -> None:
    for body in (b"", b"  \n", b"{}", b"\xef\xbb\xbf{}"):
        answer = await client.post(DEQUEUE, data=body)
        assert (answer.status, answer.text) == (400, "WorkerId is required"), body


async def test_spelling_content_type_and_unknown_fields_do_not_matter(client: Client) -> None:
    job_id = await client.enqueue()
    body = json.dumps({"WORKERID": "worker-1", "colour": {"deep": [None]}})
    answer = await client.post(DEQUEUE, data=body, headers={"Content-Type": "text/json; charset=utf-8"})
    assert (answer.status, answer.json["id"]) == (200, job_id)
    result = {"ThumbnailPath": "/t/a.png", "size_bytes": "1", "WIDTH": "2", "height": 2.0, "extra": 1}
    answer = await client.post(f"/api/thumbnail-jobs/{job_id}/complete", result)
    assert (answer.status, answer.json["status"]) == (200, "Ready")


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_report_of_five_megabytes_is_refused_and_the_next_one_is_served(client: Client, chunked: bool) -> None:
    job_id = await client.enqueue()
    await client.dequeue()
    body = json.dumps({"errorMessage": "x" * 5_000_000}).encode()

    async def pieces():
        for start in range(0, len(body), 50_000):
            yield body[start : start + 50_000]

    answer = await client.post(f"/api/thumbnail-jobs/{job_id}/fail", data=pieces() if chunked else io.BytesIO(body))
    assert (answer.status, answer.content_type) == (413, PLAIN_TEXT)
    assert answer.text == "The request body is larger than 4 MiB."
    assert (await client.job(job_id))["status"] == "Processing"


@pytest.mark.changes_nothing
async def test_a_body_of_two_megabytes_without_a_report_or_a_list_is_refused(client: Client) -> None:
    answer = await client.post("/api/thumbnail-jobs/dequeue", data=io.BytesIO(b" " * 2_000_000))
    assert (answer.status, answer.text) == (413, "The request body is larger than 1 MiB.")


@pytest.mark.parametrize("route", ["fail", "finish"])
async def test_a_failure_with_all_that_a_program_wrote_is_taken_and_frees_the_job(client: Client, route: str) -> None:
    job_id = await client.enqueue()
    await client.dequeue()
    text = "no such mesh\n" * 100_000
    event = {"eventType": "Failed", "message": text, "errorMessage": text}
    assert (await client.post(f"/api/thumbnail-jobs/{job_id}/events", event)).status == 200
    answer = await client.post(f"/api/thumbnail-jobs/{job_id}/{route}", {"success": False, "errorMessage": text})
    assert answer.status == 200, answer.text
    assert (await client.job(job_id))["status"] != "Processing"


async def test_the_largest_batch_has_room(client: Client) -> None:
    jobs = [{"modelId": number, "modelHash": f"{number:064x}", "priority": 3} for number in range(1, 10_001)]
    answer = await client.post("/api/thumbnail-jobs", {"jobs": jobs})
    assert answer.status == 200, answer.text
    assert len(answer.json["jobs"]) == 10_000
    assert {job["outcome"] for job in answer.json["jobs"]} == {"Created"}


@pytest.mark.changes_nothing
async def test_a_batch_of_five_megabytes_is_refused(client: Client) -> None:
    answer = await client.post("/api/thumbnail-jobs", data=io.BytesIO(b" " * 5_000_000))
    assert (answer.status, answer.json["message"]) == (413, "The request body is larger than 4 MiB.")


async def test_a_bad_result_leaves_the_job_with_its_worker(client: Client) -> None:
    job_id = await client.enqueue()
    await client.dequeue()
    bad: list[tuple[dict[str, Any], str]] = [
        ({"sizeBytes": -1}, ANY),
        ({"sizeBytes": "many"}, "sizeBytes must be a whole number."),
        ({"sizeBytes": 2**63}, "sizeBytes must be between -9223372036854775808 and 9223372036854775807."),
        ({"sizeBytes": None}, ANY),
        ({"width": 0}, ANY),
        ({"width": -512}, ANY),
        ({"width": 2**31}, "width must be between -2147483648 and 2147483647."),
        ({"width": 1.5}, "width must be a whole number."),
        ({"width": True}, "width must be a whole number."),
        ({"height": 0}, ANY),
        ({"height": None}, ANY),
        ({"thumbnailPath": "/var/lib/../../etc/passwd"}, ANY),
        ({"thumbnailPath": "/var/lib/a\0.png"}, ANY),
        ({"thumbnailPath": "a.png"}, ANY),
        ({"thumbnailPath": ""}, ANY),
        ({"thumbnailPath": None}, ANY),
        ({"thumbnailPath": 7}, "thumbnailPath must be a string."),
        ({"thumbnailPath": "/" + "a" * 501}, ANY),
    ]
    for change, text in bad:
        answer = await client.post(f"/api/thumbnail-jobs/{job_id}/complete", RESULT | change)
        assert (answer.status, answer.content_type, answer.text) == (400, PLAIN_TEXT, text), change
        assert answer.text, change
    assert (await client.job(job_id))["status"] == "Processing"
    assert (await client.post(f"/api/thumbnail-jobs/{job_id}/complete", RESULT)).status == 200


async def test_a_long_error_with_newlines_is_kept_in_part_and_the_job_is_not_left_locked(client: Client) -> None:
    job_id = await client.enqueue()
    await client.dequeue()
    message = "Error: out of memory\n    at render (worker.js:1:1)\n" * 100
    assert len(message) > 5_000
    answer = await client.post(f"/api/thumbnail-jobs/{job_id}/fail", {"errorMessage": message})
    assert (answer.status, answer.json["status"]) == (200, "Failed")
    job = await client.job(job_id)
    assert job["status"] == "Pending"
    assert len(job["errorMessage"]) <= 1_000
    assert job["errorMessage"].startswith("Error: out of memory\n    at render")


@pytest.mark.parametrize("report", ["fail", "finish"])
async def test_half_a_character_in_an_error_message_is_replaced_and_the_job_is_not_left_locked(
    client: Client, report: str
) -> None:
    job_id = await client.enqueue()
    await client.dequeue()
    message = "No such file: mod\udce9l.glb \ud83d"
    body = {"eventType": "JobFailed", "message": message, "errorMessage": message, "success": False}
    for path in ("events", report):
        answer = await client.post(f"/api/thumbnail-jobs/{job_id}/{path}", body)
        assert answer.status == 200, answer.text
    job = await client.job(job_id)
    assert (job["status"], job["errorMessage"]) == ("Pending", "No such file: mod\ufffdl.glb \ufffd")


@pytest.mark.changes_nothing
async def test_an_id_that_is_no_integer_is_404(client: Client) -> None:
    for job_id in ("abc", "1.5", "1e3", "0x1", "+1", " 1", "٣", "9" * 30, "99999999999999999999"):
        for verb in ("complete", "fail"):
            body = RESULT | {"errorMessage": "x"}
            assert (await client.post(f"/api/thumbnail-jobs/{job_id}/{verb}", body)).status == 404, job_id
        for path in ("api/thumbnail-jobs/{}", "models/{}/thumbnail", "models/{}/thumbnail/file"):
            assert (await client.get("/" + path.format(job_id))).status == 404, job_id


@pytest.mark.changes_nothing
async def test_an_unknown_job_is_404_on_the_newer_routes(client: Client) -> None:
    answer = await client.get("/api/thumbnail-jobs/999")
    assert (answer.status, answer.content_type) == (404, "application/json")
    assert answer.json["code"] == 5
    assert "999" in answer.json["message"]


@pytest.mark.changes_nothing
async def test_a_wrong_method_is_405_and_says_which_are_right(client: Client) -> None:
    answer = await client.get(DEQUEUE)
    assert (answer.status, answer.headers["Allow"]) == (405, "POST")
    answer = await client.post("/api/notifications/cursor")
    assert (answer.status, answer.headers["Allow"]) == (405, "GET, HEAD")


@pytest.mark.changes_nothing
async def test_an_unknown_page_is_404_in_json(client: Client) -> None:
    answer = await client.get("/api/nothing")
    assert (answer.status, answer.json) == (
        404,
        {"code": 5, "message": "There is no /api/nothing.", "status": "NOT_FOUND"},
    )


async def test_completing_twice_is_told(client: Client) -> None:
    job_id = await client.enqueue()
    token = (await client.dequeue())["leaseToken"]
    path = f"/api/thumbnail-jobs/{job_id}/complete"
    first = await client.post(path, RESULT | {"leaseToken": token})
    assert first.status == 200
    again = await client.post(path, RESULT | {"leaseToken": token})
    assert (again.status, again.json) == (200, first.json)
    legacy = await client.post(path, RESULT)
    assert (legacy.status, legacy.text) == (400, "Job is not in processing state.")


async def test_a_finished_job_cannot_be_failed(client: Client) -> None:
    """A worker does this after it lost the answer to its report."""
    job_id = await client.enqueue(42)
    await client.dequeue()
    await client.post(f"/api/thumbnail-jobs/{job_id}/complete", RESULT)
    answer = await client.post(f"/api/thumbnail-jobs/{job_id}/fail", {"errorMessage": "timeout"})
    assert (answer.status, answer.text) == (400, "Job is not in processing state.")
    assert (await client.job(job_id))["status"] == "Completed"
    assert (await client.get("/models/42/thumbnail")).json["status"] == "Ready"


@pytest.mark.changes_nothing
async def test_a_bad_request_for_a_thumbnail_enqueues_nothing(client: Client) -> None:
    good = {"modelId": 1, "modelHash": "a" * 64}
    bad: list[dict[str, Any]] = [
        good | {"modelId": 0},
        good | {"modelHash": "a" * 63},
        good | {"modelHash": "g" * 64},
        {"modelId": 1},
        good | {"priority": 10},
        good | {"maxAttempts": 0},
        good | {"delay": "-1s"},
        {"jobs": []},
        {"jobs": [good, {"modelId": 2, "modelHash": "?"}]},
        {"jobs": "all"},
    ]
    for body in bad:
        answer = await client.post("/api/thumbnail-jobs", body)
        assert (answer.status, answer.json["code"]) == (400, 3), body
    assert (await client.get("/api/thumbnail-jobs")).json["jobs"] == []


@pytest.mark.changes_nothing
async def test_a_filter_that_does_not_fit_is_refused(client: Client) -> None:
    answer = await client.get("/api/thumbnail-jobs?status=Splendid")
    assert (answer.status, answer.json["message"]) == (
        400,
        "status must be one of Pending, Processing, Completed, Failed, Cancelled.",
    )
