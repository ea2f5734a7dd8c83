"""A caller that calls too often is answered 429 and told when to come back; all others are not touched."""

import re
from collections.abc import AsyncIterator

import grpc
import pytest

from tests.compatibility.hubs.wire import Hub
from tests.support.network.http_client import Answer, Client, ask, digest
from tests.support.service.gateway import running_gateway
from tests.support.service.keys import GATEWAY_SECRET, bearer, keyed, make_key
from tests.support.service.server import running_server
from thumbq_runtime.limits import buckets

DEQUEUE = "/api/thumbnail-jobs/dequeue"
# One call, and the next after a quarter of an hour.
SELDOM = 0.001
PROXIED = {"trusted_proxies": "127.0.0.1", "rate_of_reads": SELDOM}


@pytest.fixture
async def polls(server: str) -> AsyncIterator[Client]:
    async with running_gateway(server, rate_of_worker_polls=SELDOM) as http:
        yield Client(http)


async def poll(client: Client, worker: str = "worker-001", path: str = DEQUEUE) -> Answer:
    return await client.post(path, {"workerId": worker})


def expect_refusal(answer: Answer) -> None:
    assert answer.status == 429, answer.text
    assert 1 <= int(answer.headers["Retry-After"]) <= 60
    assert "Try again after" in answer.text


@pytest.mark.parametrize("path", [DEQUEUE, "/thumbnail-jobs/dequeue", "/api/thumbnail-jobs/dequeue-batch"])
async def test_a_worker_that_asks_too_often_without_a_job_is_refused(polls: Client, path: str) -> None:
    assert (await poll(polls, path=path)).status in {200, 204}
    expect_refusal(await poll(polls, path=path))
    assert (await poll(polls, "worker-002", path)).status in {200, 204}


async def test_a_worker_that_gets_jobs_is_never_refused(polls: Client) -> None:
    await polls.enqueue_many(range(1, 31))
    for _ in range(30):
        await polls.dequeue()
    assert (await poll(polls)).status == 204
    expect_refusal(await poll(polls))


async def test_a_refused_worker_may_still_report(polls: Client) -> None:
    await polls.enqueue()
    job = await polls.dequeue()
    assert (await poll(polls)).status == 204
    expect_refusal(await poll(polls))
    report = {"thumbnailPath": "/var/lib/thumbnails/1.png", "sizeBytes": 1, "width": 1, "height": 1}
    answer = await polls.post(f"/api/thumbnail-jobs/{job['id']}/complete", report)
    assert answer.status == 200, answer.text


async def test_all_workers_of_an_address_share_a_rate(server: str) -> None:
    async with running_gateway(server, rate_of_polls=SELDOM) as http:
        client = Client(http)
        assert (await poll(client, "worker-001")).status == 204
        expect_refusal(await poll(client, "worker-002"))


async def test_calls_on_a_connection_to_a_hub_count_as_reads(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(buckets, "BURST_SECONDS", 4 / SELDOM)
    async with running_gateway(server, rate_of_reads=SELDOM) as http, Hub.connected(http, "/thumbnailHub") as page:
        for model_id in (1, 2):  # two more were spent to connect
            await page.call("JoinModelGroup", model_id)
        await page.invoke("JoinModelGroup", 3)
        assert "This caller reads too often. Try again after" in (await page.message())["error"]


async def test_reads_and_enqueues_are_counted_apart(server: str) -> None:
    async with running_gateway(server, rate_of_reads=SELDOM, rate_of_enqueues=SELDOM) as http:
        client = Client(http)
        job = {"modelId": 1, "modelHash": digest(1)}
        assert (await client.get("/api/thumbnail-jobs")).status == 200
        assert (await client.post("/api/thumbnail-jobs", job)).status == 200
        expect_refusal(await client.get("/models/1/thumbnail"))
        expect_refusal(await client.post("/api/thumbnail-jobs", job))
        expect_refusal(await client.post("/models/1/thumbnail/regenerate"))
        expect_refusal(await client.get("/api/notifications"))
        for probe in ("/health", "/healthz", "/readyz", "/metrics"):
            for method in ("GET", "HEAD"):
                assert (await ask(http, method, probe)).status == 200, (method, probe)


async def test_callers_behind_a_trusted_proxy_are_told_apart(server: str) -> None:
    async with running_gateway(server, **PROXIED) as http:
        client = Client(http)
        for caller in ("203.0.113.1", "203.0.113.2"):
            headers = {"X-Forwarded-For": caller}
            assert (await client.get("/api/thumbnail-jobs", headers=headers)).status == 200
            expect_refusal(await client.get("/api/thumbnail-jobs", headers=headers))


async def test_a_caller_without_a_trusted_proxy_cannot_pass_for_many(server: str) -> None:
    async with running_gateway(server, **PROXIED | {"trusted_proxies": "10.0.0.1"}) as http:
        client = Client(http)
        assert (await client.get("/api/thumbnail-jobs", headers={"X-Forwarded-For": "203.0.113.1"})).status == 200
        expect_refusal(await client.get("/api/thumbnail-jobs", headers={"X-Forwarded-For": "203.0.113.2"}))


async def test_refusals_are_counted_and_logged_once(polls: Client, capfd: pytest.CaptureFixture[str]) -> None:
    await poll(polls)
    for _ in range(3):
        expect_refusal(await poll(polls))
    metrics = (await polls.get("/metrics")).text
    assert re.search(r'^thumbq_gateway_refused_total\{kind="worker_polls"\} 3.0$', metrics, re.MULTILINE)
    assert re.search(r'^thumbq_gateway_refused_total\{kind="reads"\} 0.0$', metrics, re.MULTILINE)
    out, err = capfd.readouterr()
    assert (out + err).count("call.refused") == 1


async def test_a_worker_with_an_id_of_any_length_is_one_caller_and_has_a_short_line(
    polls: Client, capfd: pytest.CaptureFixture[str]
) -> None:
    worker = f"😀{'a' * 1_000_000}"
    assert (await poll(polls, worker)).status == 400
    expect_refusal(await poll(polls, worker))
    out, err = capfd.readouterr()
    (line,) = [line for line in (out + err).splitlines() if "call.refused" in line]
    assert len(line) < 1_000


async def test_every_key_has_a_rate_of_polls_of_its_own(database_url: str) -> None:
    async with running_server(database_url, gateway_secret=GATEWAY_SECRET) as server:
        async with grpc.aio.insecure_channel(server) as strangers:
            admin = await make_key(strangers, "admin")
        async with keyed(server, admin) as admins:
            keys = [await make_key(admins, "worker") for _ in range(2)]
        async with running_gateway(server, gateway_secret=GATEWAY_SECRET, rate_of_polls=SELDOM) as http:
            client = Client(http)
            for key in keys:
                body = {"workerId": "worker-001"}
                assert (await client.post(DEQUEUE, body, headers=bearer(key))).status == 204
                expect_refusal(await client.post(DEQUEUE, body, headers=bearer(key)))
