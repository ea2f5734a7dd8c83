"""docs/thumbnail-job-endpoints.md against the live service: its JSON, its errors and its curl commands."""

import json
from typing import Any

import pytest

from tests.gateway.transcoding.document import COMPLETE, DEQUEUE, FAIL, TEST, Endpoint
from tests.support.network.http_client import Client


def kinds(value: dict[str, Any]) -> dict[str, type]:
    return {name: type(member) for name, member in value.items()}


async def test_the_dequeue_example(client: Client) -> None:
    await client.enqueue(42)
    answer = await client.post(DEQUEUE.path, DEQUEUE.json(0))
    example = DEQUEUE.json(1)
    assert kinds(answer.json).items() >= kinds(example).items()
    same = ("modelId", "status", "attemptCount")
    assert {name: answer.json[name] for name in same} == {name: example[name] for name in same}


@pytest.mark.parametrize("endpoint", [COMPLETE, FAIL], ids=["complete", "fail"])
async def test_the_examples_of_reports(client: Client, endpoint: Endpoint) -> None:
    job_id = await client.enqueue(42)
    await client.dequeue()
    answer = await client.post(endpoint.path.format(jobId=job_id), endpoint.json(0))
    assert (answer.status, answer.json) == (200, endpoint.json(1))


async def test_the_example_of_the_test_route(client: Client) -> None:
    answer = await client.post(TEST.path.format(modelId=1), TEST.json(0))
    assert (answer.status, answer.json) == (200, TEST.json(1))


@pytest.mark.parametrize(
    ("endpoint", "title", "job_id", "body"),
    [
        (DEQUEUE, "Invalid Request", 1, {}),
        (COMPLETE, "Job Not Found", 999, COMPLETE.json(0)),
        (COMPLETE, "Invalid State", 1, COMPLETE.json(0)),
        (FAIL, "Job Not Found", 999, FAIL.json(0)),
        (FAIL, "Invalid Error Message", 1, {"errorMessage": ""}),
    ],
    ids=["dequeue", "complete-unknown", "complete-pending", "fail-unknown", "fail-blank"],
)
async def test_the_documented_errors(
    client: Client, endpoint: Endpoint, title: str, job_id: int, body: dict[str, Any]
) -> None:
    await client.enqueue(42)
    status, _, text = endpoint.error(title)
    answer = await client.post(endpoint.path.format(jobId=job_id), body)
    assert (answer.status, answer.text) == (status, text)
    assert answer.content_type == "text/plain; charset=utf-8"


async def test_the_documented_error_of_the_test_route(client: Client) -> None:
    status, language, text = TEST.error("Notification Failed")
    answer = await client.post(TEST.path.format(modelId=1), {"status": "Splendid"})
    assert (answer.status, language) == (status, "json")
    assert kinds(answer.json) == kinds(json.loads(text))


@pytest.mark.parametrize(
    ("endpoint", "count"),
    [(DEQUEUE, 1), (COMPLETE, 1), (FAIL, 1), (TEST, 2)],
    ids=["dequeue", "complete", "fail", "test"],
)
async def test_the_curl_commands(client: Client, endpoint: Endpoint, count: int) -> None:
    if endpoint is DEQUEUE:
        await client.enqueue(42)
    else:
        await client.claim(15)
    commands = endpoint.curls()
    assert len(commands) == count
    for path, headers, body in commands:
        answer = await client.post(path, data=body, headers=headers)
        assert answer.status == 200, answer.text
        assert kinds(answer.json).items() >= kinds(endpoint.json(1)).items()
