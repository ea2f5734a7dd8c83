"""Progress in JSON: of a job that a worker on a stream has, and from a JSON worker."""

import asyncio
from datetime import datetime

from tests.support.network.http_client import Client, digest
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


async def test_a_json_worker_tells_how_far_its_job_has_come(client: Client) -> None:
    await client.post("/api/thumbnail-jobs", {"modelId": 1, "modelHash": digest(1)})
    job = (await client.post("/api/thumbnail-jobs/dequeue", {"workerId": "w1"})).json
    path = f"/api/thumbnail-jobs/{job['id']}/progress"
    told = {"progress": 0.4, "progressText": "meshing", "leaseToken": job["leaseToken"]}
    answer = await client.post(path, told)
    # a sign of life: the lease begins anew
    assert datetime.fromisoformat(answer.json["leaseExpiresAt"]) > datetime.fromisoformat(job["leaseExpiresAt"])

    async def is_told() -> bool:
        shown = await client.job(job["id"])
        return (shown.get("progress"), shown.get("progressText")) == (0.4, "meshing")

    await eventually(is_told, 60)
    for body, problem in [
        ('{"progressText": "no number"}', "progress is required"),
        ('{"progress": 1e999}', "progress must be a number that fits into 64 bits."),
        ('{"progress": true}', "progress must be a number."),
        ('{"progress": "half"}', "progress must be a number."),
    ]:
        refused = await client.post(path, data=body.encode())
        assert (refused.status, refused.json["message"]) == (400, problem)
    await client.post(f"/api/thumbnail-jobs/{job['id']}/fail", {"errorMessage": "no"})
    late = await client.post(path, told)
    assert (late.status, late.json["status"]) == (400, "FAILED_PRECONDITION")
