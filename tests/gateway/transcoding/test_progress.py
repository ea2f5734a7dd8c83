"""Progress in JSON: of a job that a worker on a stream has."""

import asyncio
from datetime import datetime

from tests.support.http_client import Client, digest
from tests.support.waiting import eventually
from thumbq import Job, Thumbnail, Worker, report_progress


async def test_a_job_shows_how_far_its_worker_has_come(server: str, client: Client) -> None:
    seen = asyncio.Event()

    async def render(job: Job) -> Thumbnail:
        report_progress(job, 0.4, "meshing")
        await seen.wait()
        return Thumbnail("/thumbnails/a.png", 1, 1, 1)

    async def told() -> bool:
        return "progress" in await client.job(job_id)

    enqueued = await client.post("/api/thumbnail-jobs", {"modelId": 1, "modelHash": digest(1)})
    job_id = enqueued.json["jobId"]
    assert not [name for name in await client.job(job_id) if name.startswith("progress")]
    async with Worker(server) as worker, asyncio.TaskGroup() as group:
        group.create_task(worker.run(render, handle_signals=False))
        await eventually(told, 60)
        job = await client.job(job_id)
        assert (job["progress"], job["progressText"]) == (0.4, "meshing")
        assert datetime.fromisoformat(job["progressAt"]) >= datetime.fromisoformat(job["createdAt"])
        seen.set()
        ended = (await client.get(f"/api/thumbnail-jobs/{job_id}?wait=30s")).json
        assert ended["status"] == "Completed"
        assert not [name for name in ended if name.startswith("progress")]
        worker.stop()
