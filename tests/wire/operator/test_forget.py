"""A model is forgotten while workers, producers and pages are busy with it."""

import asyncio
from pathlib import Path

import pytest

import thumbq
from tests.support.conditions import until
from tests.support.network.http_client import Client, ask
from tests.support.service.gateway import running_gateway
from tests.support.service.server import running_server
from tests.wire.operator.test_admin import enqueue
from tests.wire.operator.test_cli_interventions import thumbq as command
from tests.wire.worker import Worker, done
from thumbq.v1 import admin_pb2, job_pb2, queue_pb2


async def forget(admin, model_id=42):
    return await admin.ForgetThumbnail(admin_pb2.ForgetThumbnailRequest(model_id=model_id))


async def test_the_worker_of_a_forgotten_model_loses_its_job_and_its_late_result_is_refused(queue, admin):
    worker = Worker(queue)
    job_id = await enqueue(queue)
    await worker.hello()
    await worker.wants(1)
    (job,) = (await worker.receives("jobs")).jobs
    assert list((await forget(admin)).job_ids) == [job_id]
    lost = await worker.receives("lease_lost")
    assert (list(lost.lease_tokens), lost.reason) == ([job.lease_token], job_pb2.LEASE_LOST_REASON_CANCELLED)
    await worker.reports(1, done(job))
    (refused,) = (await worker.receives("result_acks")).exceptions
    assert refused.code == queue_pb2.RESULT_CODE_STALE
    assert list((await forget(admin)).job_ids) == []  # twice is fine


async def test_who_waits_for_a_job_of_a_forgotten_model_is_told(server):
    async with thumbq.Client(server) as client:
        answer = await client.enqueue(42, b"m" * 32)
        waiting = asyncio.create_task(client.wait_for(answer.job_id, timeout=60))
        await asyncio.sleep(0)  # the wait begins
        await client.cursor()  # it has reached the server
        assert await client.forget(42) == [answer.job_id]
        async with asyncio.timeout(20):  # below the 30 s after which a call is answered however the job stands
            with pytest.raises(thumbq.NotFound):
                await waiting
        assert (await client.thumbnail(42)).status == "None"
        assert await client.forget(42) == []


async def test_the_command_asks_first_and_says_what_is_gone(server, queue):
    await enqueue(queue)
    code, _ = await command(server, "forget", "42")  # nothing answers
    assert code == 1
    forgotten = "Model 42 is forgotten: 1 job and 0 pictures deleted.\n"
    assert await command(server, "forget", "42", "--yes") == (0, forgotten)


async def rendered(client: Client, path: Path) -> str:
    """Render model 42. Return the tag of its thumbnail at this gateway."""
    path.write_bytes(b"\x89PNG\r\n\x1a\n")
    await client.enqueue(42)
    job = await client.dequeue()
    body = {"thumbnailPath": str(path), "sizeBytes": 8, "width": 1, "height": 1}
    assert (await client.post(f"/api/thumbnail-jobs/{job['id']}/complete", body)).status == 200
    return str((await client.get("/models/42/thumbnail")).headers["ETag"])


async def test_every_gateway_forgets_with_its_server_and_pages_are_told(database_url, tmp_path):
    path = tmp_path / "42.png"
    async with (
        running_server(database_url, thumbnail_root=tmp_path) as first,
        running_server(database_url) as second,
        running_gateway(first, thumbnail_root=tmp_path) as near,
        running_gateway(second, thumbnail_root=tmp_path) as far,
        Client(far).listen("after=earliest") as page,
    ):
        here, there = Client(near), Client(far)
        tag = await rendered(here, path)
        assert (await there.get("/models/42/thumbnail", headers={"If-None-Match": tag})).status == 304
        answer = await ask(near, "DELETE", "/models/42/thumbnail")
        assert (answer.status, answer.json["pictures"]) == (200, 1)
        for client in (here, there):
            shown = await client.get("/models/42/thumbnail", headers={"If-None-Match": tag})
            assert (shown.status, shown.json["status"], shown.json["fileUrl"]) == (200, "Pending", None)
            assert (await client.get("/models/42/thumbnail/file")).status == 404
        assert [(await page.event()).data["status"] for _ in range(3)] == ["Pending", "Ready", "None"]

        async def is_removed() -> bool:
            return not path.exists()

        await until(is_removed)
