"""Workers that fetch one job a nudge, and drop nudges when they are busy, never strand a job."""

import asyncio

import grpc

from tests.compatibility.hubs.test_many_pages import Page
from tests.compatibility.hubs.wire import Hub
from tests.support.network.http_client import Client
from tests.support.service.gateway import RestartableServer, running_gateway
from tests.support.service.server import running_server
from tests.support.waiting import eventually
from thumbq.v1.notification_pb2 import Notification, QueueSnapshot
from thumbq_gateway.metrics import Metrics
from thumbq_gateway.notifications.fanout import Fanout
from thumbq_gateway.notifications.relays.queue_relay import QueueRelay
from thumbq_gateway.signalr.hubs.nudges import Nudges
from thumbq_gateway.signalr.hubs.worker_hub import Workers

RESULT = {"thumbnailPath": "/default/path", "sizeBytes": 0, "width": 256, "height": 256}
HUB = "/thumbnailJobHub"


async def test_a_worker_that_registers_hears_of_what_was_enqueued_before(client: Client) -> None:
    job_id = await client.enqueue(42)
    async with Hub.connected(client.http, HUB) as worker:
        await worker.call("RegisterWorker", "worker-1")
        assert (await worker.next("JobEnqueued"))["jobId"] == job_id


async def test_a_worker_that_took_nothing_is_asked_again_and_again(client: Client) -> None:
    async with Hub.connected(client.http, HUB) as worker:
        await worker.call("RegisterWorker", "worker-1")
        job_id = await client.enqueue(42)
        assert [(await worker.next("JobEnqueued"))["jobId"] for _ in range(4)] == [job_id] * 4


async def test_a_worker_hears_of_the_next_job_when_it_has_ended_one(client: Client) -> None:
    async with Hub.connected(client.http, HUB) as worker:
        await worker.call("RegisterWorker", "worker-1")
        await client.enqueue_many(range(1, 7))
        taken: list[int] = []
        while len(taken) < 6:
            await worker.next("JobEnqueued")
            job = await client.dequeue("worker-1")
            await client.post(f"/api/thumbnail-jobs/{job['id']}/complete", RESULT)
            taken.append(job["modelId"])
        assert taken == [1, 2, 3, 4, 5, 6]


async def test_a_nudge_comes_after_the_commit(client: Client) -> None:
    async with Hub.connected(client.http, HUB) as worker:
        await worker.call("RegisterWorker", "worker-1")
        for model_id in range(1, 20):
            enqueued = asyncio.create_task(client.enqueue(model_id))
            # A job that is not taken at once is announced again.
            while (await worker.next("JobEnqueued"))["modelId"] != model_id:
                pass
            assert (await client.dequeue("worker-1"))["modelId"] == model_id
            await enqueued


async def test_one_job_is_announced_to_one_worker_and_to_another_when_that_does_not_take_it(client: Client) -> None:
    async with Hub.connected(client.http, HUB) as one, Hub.connected(client.http, HUB) as other:
        await one.call("RegisterWorker", "one")
        await other.call("RegisterWorker", "other")
        job_id = await client.enqueue(42)
        first = {
            asyncio.create_task(one.next("JobEnqueued")),
            asyncio.create_task(other.next("JobEnqueued")),
        }
        done, waiting = await asyncio.wait(first, return_when=asyncio.FIRST_COMPLETED)
        assert (len(done), len(waiting)) == (1, 1)
        assert [(await task)["jobId"] for task in waiting] == [job_id]


async def test_a_burst_is_spread_over_the_workers(client: Client) -> None:
    async with Hub.connected(client.http, HUB) as one, Hub.connected(client.http, HUB) as other:
        await one.call("RegisterWorker", "one")
        await other.call("RegisterWorker", "other")
        await client.enqueue_many(range(1, 7))
        for worker in (one, other):
            for _ in range(3):
                await worker.next("JobEnqueued")


async def test_a_worker_that_holds_three_jobs_is_nudged_for_more_though_news_never_end(
    client: Client, server: str
) -> None:
    """It may render more at once: that is seen only when it takes more."""
    await client.enqueue_many(range(1, 11))
    worker, workers, metrics = Page(), Workers(), Metrics()
    holds_three = QueueSnapshot(
        rendering=[QueueSnapshot.Rendering(job_id=number, worker_id="worker-1") for number in (1, 2, 3)]
    )
    holds_three.timestamp.GetCurrentTime()
    async with grpc.aio.insecure_channel(server) as channel:
        fanout = Fanout(metrics.notifications, heartbeat=15, buffer_limit=1 << 20)
        relay = QueueRelay(channel, fanout, lambda _problem: None, linger=0)
        nudges = Nudges(channel, workers, relay, metrics.hubs)
        workers.enter(worker, "worker-1")
        nudges.hear_snapshot(holds_three)
        running = asyncio.create_task(nudges.run())

        async def is_nudged() -> bool:
            nudges.hear([Notification(test=True)])
            return worker.records > 0

        await eventually(is_nudged)
        running.cancel()
        workers.leave(worker)
        relay.end()


async def test_a_retry_is_announced_when_it_falls_due(client: Client) -> None:
    async with Hub.connected(client.http, HUB) as worker:
        await worker.call("RegisterWorker", "worker-1")
        job_id = await client.enqueue(42)
        await worker.next("JobEnqueued")
        await client.dequeue("worker-1")
        await client.post(
            f"/api/thumbnail-jobs/{job_id}/fail", {"errorMessage": "Renderer not initialized", "retryDelay": "0.5s"}
        )
        await worker.next("JobStatusChanged")
        await worker.next("JobEnqueued")
        again = await client.dequeue("worker-1")
        assert (again["id"], again["attemptCount"]) == (job_id, 2)


async def test_a_job_whose_lease_ran_out_is_announced(database_url: str) -> None:
    async with running_server(database_url, unary_lease_duration=1) as server, running_gateway(server) as http:
        client = Client(http)
        async with Hub.connected(http, HUB) as worker:
            await worker.call("RegisterWorker", "worker-1")
            job_id = await client.enqueue(42)
            await worker.next("JobEnqueued")
            assert (await client.dequeue("worker-that-dies"))["id"] == job_id
            await worker.next("JobStatusChanged")
            await worker.next("JobEnqueued")
            assert (await client.dequeue("worker-1"))["id"] == job_id


async def test_a_job_that_is_retried_by_hand_is_announced(client: Client) -> None:
    job_id = await client.enqueue(42)
    await client.dequeue("other")
    await client.post(f"/api/thumbnail-jobs/{job_id}/complete", RESULT)
    async with Hub.connected(client.http, HUB) as worker:
        await worker.call("RegisterWorker", "worker-1")
        await client.post(f"/api/thumbnail-jobs/{job_id}/retry")
        assert (await worker.next("JobEnqueued"))["jobId"] == job_id


async def test_workers_are_nudged_after_the_server_was_away(restartable: RestartableServer) -> None:
    async with running_gateway(restartable.address) as http, Hub.connected(http, HUB) as worker:
        client = Client(http)
        await worker.call("RegisterWorker", "worker-1")
        job_id = await client.enqueue(42)
        await worker.next("JobEnqueued")
        await restartable.stop()
        await restartable.start()
        while (await client.get(f"/api/thumbnail-jobs/{job_id}")).status != 200:
            pass
        await worker.next("JobEnqueued")
        while (answer := await client.post("/api/thumbnail-jobs/dequeue", {"workerId": "worker-1"})).status != 200:
            assert answer.status == 503
        assert answer.json["id"] == job_id
