"""The worker hubs: registering, acknowledging, and the events for workers."""

import pytest

from tests.compatibility.hubs.wire import Hub
from tests.support.network.http_client import Client, digest

RESULT = {"thumbnailPath": "/default/path", "sizeBytes": 0, "width": 256, "height": 256}
HUBS = ["/thumbnailJobHub", "/jobProcessingHub"]


@pytest.mark.parametrize("path", HUBS)
async def test_a_worker_registers_and_hears_of_a_job_with_all_its_fields(client: Client, path: str) -> None:
    async with Hub.connected(client.http, path) as worker:
        (registered,) = await worker.call("RegisterWorker", "worker-1")
        (argument,) = registered["arguments"]
        assert (registered["target"], argument.keys()) == ("WorkerRegistered", {"workerId", "timestamp"})
        assert argument["workerId"] == "worker-1"
        job_id = await client.enqueue(42)
        enqueued = await worker.next("JobEnqueued")
        timestamps = enqueued.pop("createdAt"), enqueued.pop("timestamp")
        assert all(timestamp.endswith("Z") for timestamp in timestamps)
        assert enqueued == {
            "jobId": job_id,
            "modelId": 42,
            "modelHash": digest(42),
            "status": "Pending",
            "attemptCount": 0,
        }


async def test_workers_hear_how_a_job_ends_and_who_held_it(client: Client) -> None:
    async with (
        Hub.connected(client.http, HUBS[0]) as worker,
        client.listen("queue=true") as page,
    ):
        await worker.call("RegisterWorker", "worker-1")
        job_id = await client.enqueue(42)
        await client.dequeue("worker-1")
        while not _holds(await page.frame(), job_id):
            pass
        await client.post(f"/api/thumbnail-jobs/{job_id}/complete", RESULT)
        changed = await worker.next("JobStatusChanged")
        assert changed.pop("timestamp").endswith("Z")
        assert changed == {"jobId": job_id, "status": "Completed", "workerId": "worker-1"}


def _holds(frame, job_id: int) -> bool:
    return frame.name == "queue" and any(job["jobId"] == job_id for job in frame.data["rendering"])


async def test_a_job_that_will_be_tried_again_is_pending_for_workers(client: Client) -> None:
    async with Hub.connected(client.http, HUBS[1]) as worker:
        await worker.call("RegisterWorker", "worker-1")
        job_id = await client.enqueue(42)
        await client.dequeue("worker-1")
        await client.post(f"/api/thumbnail-jobs/{job_id}/fail", {"errorMessage": "no triangles"})
        assert (await worker.next("JobStatusChanged"))["status"] == "Pending"


async def test_all_workers_hear_an_acknowledgement_and_nothing_depends_on_it(client: Client) -> None:
    async with Hub.connected(client.http, HUBS[0]) as one, Hub.connected(client.http, HUBS[1]) as other:
        await one.call("RegisterWorker", "one")
        await other.call("RegisterWorker", "other")
        await one.invoke("AcknowledgeJobProcessing", 15, "one")
        acknowledged = await other.next("JobAcknowledged")
        assert acknowledged.pop("timestamp").endswith("Z")
        assert acknowledged == {"jobId": 15, "workerId": "one"}
        assert (await one.next("JobAcknowledged"))["jobId"] == 15


async def test_a_worker_that_unregisters_hears_so_and_no_more(client: Client) -> None:
    async with Hub.connected(client.http, HUBS[0]) as leaving, Hub.connected(client.http, HUBS[0]) as staying:
        await leaving.call("RegisterWorker", "leaving")
        await staying.call("RegisterWorker", "staying")
        (unregistered,) = await leaving.call("UnregisterWorker", "leaving")
        assert unregistered["target"] == "WorkerUnregistered"
        await client.enqueue(42)
        await staying.next("JobEnqueued")
        await staying.invoke("AcknowledgeJobProcessing", 1, "staying")
        await staying.next("JobAcknowledged")
        again = await leaving.call("UnregisterWorker", "leaving")
        assert [message["target"] for message in again] == ["WorkerUnregistered"]
