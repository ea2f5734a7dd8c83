"""Requests without a valid key: each is counted, and a line without one speaks for a worker that has shown one."""

import aiohttp
import pytest

from tests.gateway.access.scan import UNKNOWN_KEY
from tests.gateway.access.test_keys import Guarded, guarded
from tests.support.network.http_client import Answer, Client, Json, digest
from tests.support.service.keys import bearer

LINE = {"eventType": "Rendering", "message": "half done"}
UNCOUNTED = {
    "a dequeue": ("POST", "/api/thumbnail-jobs/dequeue"),
    "a batch": ("POST", "/api/thumbnail-jobs/dequeue-batch"),
    "a completion": ("POST", "/api/thumbnail-jobs/1/complete"),
    "a failure": ("POST", "/api/thumbnail-jobs/1/fail"),
    "a report": ("POST", "/thumbnail-jobs/1/finish"),
    "a line": ("POST", "/thumbnail-jobs/1/events"),
    "an upload": ("POST", "/models/1/thumbnail/upload"),
    "the metrics": ("GET", "/metrics"),
}
# One read, and the next after a quarter of an hour.
SELDOM = {"rate_of_reads": 0.001, "trusted_proxies": "127.0.0.1"}


async def test_a_request_without_a_valid_key_counts_as_a_read_whatever_its_route_counts_as(database_url: str) -> None:
    async with guarded(database_url, **SELDOM) as queue:
        for number, (method, path) in enumerate(UNCOUNTED.values()):
            for site, headers in enumerate(({}, bearer(UNKNOWN_KEY), bearer("no key at all"))):
                caller = {"X-Forwarded-For": f"192.0.{number}.{site}", **headers}
                assert await status(queue.http, method, path, caller) == 401, path
                assert await status(queue.http, method, path, caller) == 429, path
                worker = caller | bearer(queue.keys["worker"])
                assert await status(queue.http, method, path, worker) not in {401, 429}, path


async def status(http: aiohttp.ClientSession, method: str, path: str, headers: dict[str, str]) -> int:
    async with http.request(method, path, headers=headers, json={} if method == "POST" else None) as answer:
        return answer.status


async def test_lines_without_a_key_are_counted_also_while_their_job_is_in_work(database_url: str) -> None:
    async with guarded(database_url, **SELDOM) as queue:
        job = await claimed(queue, 1)
        assert (await write(queue, job, {"X-Forwarded-For": "192.0.2.7"})).status == 200
        assert (await write(queue, job, {"X-Forwarded-For": "192.0.2.7"})).status == 429
        assert (await write(queue, job, {"X-Forwarded-For": "192.0.2.8"})).status == 200
        for _ in range(3):
            worker = {"X-Forwarded-For": "192.0.2.7", **bearer(queue.keys["worker"])}
            assert (await write(queue, job, worker)).status == 200


async def test_a_line_without_a_key_keeps_what_its_worker_claimed_later_while_that_asks_for_jobs(
    database_url: str,
) -> None:
    async with guarded(database_url) as queue:
        first, second = await claimed(queue, 1), await claimed(queue, 2)
        ends = await lease_end(queue, second)
        assert (await write(queue, first)).status == 200
        assert await lease_end(queue, second) > ends
        assert (await write(queue, first, bearer(queue.keys["worker"]))).status == 200
        log = await Client(queue.http).get(f"/api/thumbnail-jobs/{first['id']}/events", headers=admin(queue))
        assert len(log.json["events"]) == 2


async def test_without_any_key_lines_keep_all_that_their_worker_claimed_later(client: Client) -> None:
    for model_id in (1, 2):
        await client.enqueue(model_id)
    first, second = await client.dequeue(wait="5s"), await client.dequeue(wait="5s")
    ends = (await client.job(second["id"]))["leaseExpiresAt"]
    assert (await client.post(f"/thumbnail-jobs/{first['id']}/events", LINE)).status == 200
    assert (await client.job(second["id"]))["leaseExpiresAt"] > ends


@pytest.mark.parametrize("digits", [20, 5_000])
async def test_the_id_of_a_line_without_a_key_may_have_any_number_of_digits(database_url: str, digits: int) -> None:
    async with guarded(database_url) as queue:
        answer = await Client(queue.http).post(f"/thumbnail-jobs/{'9' * digits}/events", LINE)
        assert answer.status == 404, answer.text


def admin(queue: Guarded) -> dict[str, str]:
    return bearer(queue.keys["admin"])


async def claimed(queue: Guarded, model_id: int) -> Json:
    """A job that a worker of the queue has claimed, for a minute at first, since it would have waited for one."""
    client = Client(queue.http)
    job = {"modelId": model_id, "modelHash": digest(model_id)}
    assert (await client.post("/api/thumbnail-jobs", job, headers=bearer(queue.keys["producer"]))).status == 200
    answer = await client.post(
        "/api/thumbnail-jobs/dequeue", {"workerId": "worker-001", "wait": "5s"}, headers=bearer(queue.keys["worker"])
    )
    assert answer.status == 200, answer.text
    found: Json = answer.json
    return found


async def lease_end(queue: Guarded, job: Json) -> str:
    answer = await Client(queue.http).get(f"/api/thumbnail-jobs/{job['id']}", headers=admin(queue))
    return str(answer.json["leaseExpiresAt"])


async def write(queue: Guarded, job: Json, headers: dict[str, str] | None = None) -> Answer:
    return await Client(queue.http).post(f"/thumbnail-jobs/{job['id']}/events", LINE, headers=headers or {})
