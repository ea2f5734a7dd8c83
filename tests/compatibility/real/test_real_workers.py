"""Workers of both generations, as programs on the client libraries that the real ones use."""

import asyncio
import base64
import signal
from collections import Counter
from collections.abc import Iterable
from contextlib import AsyncExitStack
from pathlib import Path

import aiohttp
import pytest

from tests.compatibility.hubs.wire import address
from tests.compatibility.pictures import animated_webp
from tests.compatibility.programs import Program
from tests.support.network.http_client import Client
from tests.support.service.service import Service

pytestmark = [pytest.mark.node]
ENDED = {"Completed", "Failed", "Cancelled"}
PICTURE = base64.b64encode(animated_webp()).decode()


async def all_completed(client: Client, job_ids: Iterable[int]) -> None:
    """Waits for the end of each job, which must be a good one."""
    for job_id in job_ids:
        while (job := (await client.get(f"/api/thumbnail-jobs/{job_id}?wait=30s")).json)["status"] not in ENDED:
            pass
        assert job["status"] == "Completed", job


async def enqueue(client: Client, count: int) -> list[int]:
    return [await client.enqueue(model_id) for model_id in range(1, count + 1)]


async def test_a_burst_of_50_is_worked_off_by_one_worker_that_never_polls(client: Client) -> None:
    async with Program.started("generation1", address(client.http), "worker-1", PICTURE=PICTURE) as worker:
        await worker.says("event", "registered")
        await all_completed(client, await enqueue(client, 50))
    picture = await client.get("/models/50/thumbnail/file")
    assert (picture.body, picture.content_type) == (animated_webp(), "image/webp")


async def test_jobs_that_waited_for_a_worker_are_taken_when_one_registers(client: Client) -> None:
    job_ids = await enqueue(client, 5)
    async with Program.started("generation1", address(client.http), "worker-1") as worker:
        await worker.says("event", "registered")
        await all_completed(client, job_ids)


async def test_a_completion_whose_answer_was_lost_stays_complete(client: Client) -> None:
    async with Program.started("generation1", address(client.http), "worker-1", LOSES_ANSWERS="1") as worker:
        await worker.says("event", "registered")
        job_id = await client.enqueue(42)
        assert (await worker.says("event", "abandoned"))["status"] == 400
    assert (await client.job(job_id))["status"] == "Completed"
    assert (await client.get("/models/42/thumbnail")).json["status"] == "Ready"


async def test_generation_2_polls_prefetches_and_finishes(client: Client) -> None:
    job_ids = await enqueue(client, 30)
    async with Program.started("generation2", address(client.http), "worker-2", WORKER_API_KEY="secret") as worker:
        await worker.says("event", "registered")
        await all_completed(client, job_ids)
        later = await client.enqueue(99)  # told by the hub, long before the next poll
        await worker.says("jobId", later)
        await all_completed(client, [later])


async def test_both_generations_and_a_plain_worker_share_a_queue_and_render_each_job_once(client: Client) -> None:
    url = address(client.http)
    async with (
        Program.started("generation1", url, "worker-1") as first,
        Program.started("generation2", url, "worker-2") as second,
    ):
        await first.says("event", "registered")
        await second.says("event", "registered")
        plain = asyncio.create_task(work_plainly(client))
        job_ids = await enqueue(client, 60)
        await all_completed(client, job_ids)
        plain.cancel()
        completed = Counter((await gather_completed(first)) + (await gather_completed(second)))
        assert max(completed.values()) == 1


async def work_plainly(client: Client) -> None:
    while True:
        answer = await client.post("/api/thumbnail-jobs/dequeue", {"workerId": "plain", "wait": "5s"})
        if answer.status == 200:
            body = {"thumbnailPath": "/a.png", "sizeBytes": 1, "width": 1, "height": 1}
            await client.post(f"/api/thumbnail-jobs/{answer.json['id']}/complete", body)


async def gather_completed(program: Program) -> list[int]:
    """The jobs that a program says it has completed; ends it."""
    await program.end()
    completed = []
    while True:
        try:
            completed.append((await program.says("event", "completed"))["jobId"])
        except EOFError:
            return completed


async def test_a_worker_that_is_asked_to_end_registers_again_and_loses_nothing(client: Client) -> None:
    async with Program.started("generation1", address(client.http), "worker-1") as worker:
        await worker.says("event", "registered")
        worker.process.send_signal(signal.SIGTERM)
        await worker.says("event", "unregistered")
        job_id = await client.enqueue(42)
        await worker.says("event", "registered")  # five seconds later, as the real one does
        await all_completed(client, [job_id])


async def test_restarts_of_gateway_and_server_lose_nothing(database_url: str, tmp_path: Path) -> None:
    async with Service.started(database_url, tmp_path) as service, AsyncExitStack() as workers:
        url = service.url.rstrip("/")
        for name in ("worker-1", "worker-2"):
            worker = await workers.enter_async_context(Program.started("generation1", url, name))
            await worker.says("event", "registered")
        await service.enqueue_many(range(1, 201))
        await service.stop_gateway()
        await service.start_gateway()
        await service.stop_server()
        await service.start_server()
        await service.stop_gateway()
        await service.start_gateway()
        async with aiohttp.ClientSession(service.url) as http:
            await all_completed(Client(http), range(1, 201))


async def test_a_hub_that_is_away_for_35_seconds_is_found_again(database_url: str, tmp_path: Path) -> None:
    """The worker tries at 0, 2, 10 and 30 s, each counted from the end of the one before, and once more 5 s later."""
    async with Service.started(database_url, tmp_path) as service, AsyncExitStack() as workers:
        worker = await workers.enter_async_context(Program.started("generation1", service.url.rstrip("/"), "worker-1"))
        await worker.says("event", "registered")
        await service.stop_gateway()
        await asyncio.sleep(35)
        await service.start_gateway()
        await service.enqueue(42)
        await worker.says("event", "registered again")
        assert (await worker.says("event", "completed"))["modelId"] == 42
