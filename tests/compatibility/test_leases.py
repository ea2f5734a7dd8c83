"""Workers that say little keep their jobs for as long as they live, and lose them when they do not."""

import asyncio

import pytest

from tests.compatibility.hubs.wire import Hub, address
from tests.compatibility.programs import Program
from tests.support.network.http_client import Client, ask
from tests.support.service.gateway import running_gateway
from tests.support.service.server import running_server
from thumbq_gateway.signalr import wing
from thumbq_server.engine import unary_claims

LEASE = 4  # seconds
PRESENCE_INTERVAL = 0.4  # seconds
EVENT = {"eventType": "ModelLoaded", "message": "12 triangles", "metadata": '{"memory": 1}', "errorMessage": None}


@pytest.fixture
async def short_leases(database_url: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(wing, "PRESENCE_INTERVAL", PRESENCE_INTERVAL)
    async with running_server(database_url, unary_lease_duration=LEASE) as server:
        yield server


@pytest.mark.parametrize("prefix", ["", "/api"])
async def test_events_are_kept_with_the_job_in_any_state(client: Client, prefix: str) -> None:
    job_id = await client.enqueue(42)
    path = f"{prefix}/thumbnail-jobs/{job_id}/events"
    for state in ("Pending", "Processing", "Completed"):
        if state == "Processing":
            await client.dequeue()
        if state == "Completed":
            body = {"thumbnailPath": "/a.png", "sizeBytes": 1, "width": 1, "height": 1}
            await client.post(f"/api/thumbnail-jobs/{job_id}/complete", body)
        answer = await client.post(path, {**EVENT, "message": state})
        assert (answer.status, answer.json.keys()) == (200, {"eventId"})
        assert isinstance(answer.json["eventId"], int)
    history = (await client.get(path)).json["events"]
    assert [event["message"] for event in history] == ["Pending", "Processing", "Completed"]
    assert history[0]["metadata"] == '{"memory": 1}'
    assert "errorMessage" not in history[0]


async def test_an_event_of_any_length_is_taken_and_one_without_a_job_or_type_is_not(client: Client) -> None:
    job_id = await client.enqueue(42)
    path = f"/api/thumbnail-jobs/{job_id}/events"
    trace = "Error\n" + "    at x\0\n" * 1000
    assert (await client.post(path, {"eventType": "JobFailed", "message": trace, "errorMessage": trace})).status == 200
    (event,) = (await client.get(path)).json["events"]
    assert (len(event["message"]), len(event["errorMessage"])) == (1000, 1000)
    assert (await client.post("/api/thumbnail-jobs/999/events", EVENT)).status == 404
    assert (await client.get("/api/thumbnail-jobs/999/events")).status == 404
    assert (await client.post(path, {"message": "of no type"})).status == 400
    assert (await ask(client.http, "PUT", path)).status == 405


@pytest.mark.node
async def test_a_long_local_queue_is_rendered_once(short_leases: str) -> None:
    """Thirty jobs of 0.3 s, held by one worker for more than two leases."""
    async with running_gateway(short_leases) as http:
        client = Client(http)
        job_ids = [await client.enqueue(model_id) for model_id in range(1, 31)]
        async with Program.started("generation2", address(http), "worker-2", RENDER_MILLISECONDS="300"):
            for job_id in job_ids:
                path = f"/api/thumbnail-jobs/{job_id}?wait=30s"
                while (job := (await client.get(path)).json)["status"] in {"Pending", "Processing"}:
                    pass
                assert (job["status"], job["attemptCount"]) == ("Completed", 1)


async def test_a_worker_that_says_nothing_while_it_renders_has_the_whole_lease(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unary_claims, "FIRST_LEASE_SECONDS", 1)
    async with running_server(database_url) as server, running_gateway(server) as http:
        client = Client(http)
        job_id = await client.enqueue(42, maxAttempts=1)
        await client.dequeue()
        # Another worker's job shows when a short lease has run out: that worker had waited.
        other = await client.enqueue(43, maxAttempts=1)
        waiting = {"workerId": "worker-002", "wait": "1s"}
        assert (await client.post("/api/thumbnail-jobs/dequeue", waiting)).json["id"] == other
        while (await client.job(other))["status"] == "Processing":
            await asyncio.sleep(0.1)
        picture = {"thumbnailPath": "/a.png", "sizeBytes": 1, "width": 1, "height": 1}
        assert (await client.post(f"/api/thumbnail-jobs/{job_id}/complete", picture)).status == 200


async def test_a_connected_worker_keeps_a_job_that_it_says_nothing_of_and_loses_it_when_it_goes(
    short_leases: str,
) -> None:
    async with running_gateway(short_leases) as http:
        client = Client(http)
        # The job of one that is not connected, which loses it meanwhile. After its only attempt nobody else gets it.
        lost = await client.enqueue(41, maxAttempts=1)
        await client.dequeue("another")
        async with Hub.connected(http, "/thumbnailJobHub") as worker:
            await worker.call("RegisterWorker", "worker-1")
            job_id = await client.enqueue(42)
            assert (await client.dequeue("worker-1"))["id"] == job_id
            while (await client.job(lost))["status"] == "Processing":
                await asyncio.sleep(0.1)
            assert (await client.job(job_id))["status"] == "Processing"
        while (await client.job(job_id))["status"] == "Processing":
            await asyncio.sleep(0.1)
        assert (await client.job(job_id))["attemptCount"] == 1


async def test_a_worker_that_starts_again_under_its_name_does_not_keep_what_its_forerunner_held(
    short_leases: str,
) -> None:
    async with running_gateway(short_leases) as http:
        client = Client(http)
        job_id = await client.enqueue(42)
        await client.dequeue("worker-1")  # and dies
        async with Hub.connected(http, "/thumbnailJobHub") as worker:
            await worker.call("RegisterWorker", "worker-1")
            while (await client.job(job_id))["status"] == "Processing":
                await asyncio.sleep(0.1)
