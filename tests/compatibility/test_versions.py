"""Versions of a model: each has a file, a job and a thumbnail of its own."""

import asyncio
import hashlib
from pathlib import Path
from typing import Any

import pytest

from tests.compatibility.hubs.wire import Hub
from tests.compatibility.pictures import picture
from tests.support.network.http_client import Client
from tests.support.service.gateway import RestartableServer, running_gateway
from tests.support.service.server import running_server
from thumbq_server.storage import maintenance
from thumbq_server.storage.postgres.database import Database

UNKNOWN = {"sizeBytes": None, "width": None, "height": None, "errorMessage": None}


def file_of(version_id: int) -> str:
    return hashlib.sha256(f"version {version_id}".encode()).hexdigest()


async def enqueue(client: Client, version_id: int, model_id: int = 42, **fields: Any) -> int:
    job_id: int = await client.enqueue(
        model_id, **{"modelHash": file_of(version_id), "modelVersionId": version_id, **fields}
    )
    return job_id


async def dequeue(client: Client) -> dict[str, Any]:
    answer = await client.post("/thumbnail-jobs/dequeue", {"workerId": "worker-2"})
    assert answer.status == 200, answer.text
    job: dict[str, Any] = answer.json
    return job


async def render(client: Client, path: Path, content: bytes) -> dict[str, Any]:
    """Fetches a job and finishes it with this picture; the answer."""
    job = await dequeue(client)
    path.write_bytes(content)
    report = {"success": True, "thumbnailPath": str(path), **UNKNOWN}
    answer = await client.post(f"/thumbnail-jobs/{job['id']}/finish", report)
    assert answer.status == 200, answer.text
    finished: dict[str, Any] = answer.json
    return finished


async def test_a_worker_learns_the_version_that_it_renders(client: Client) -> None:
    job_id = await enqueue(client, 7)
    job = await dequeue(client)
    assert (job["id"], job["modelVersionId"]) == (job_id, 7)
    assert (await client.job(job_id))["modelVersionId"] == 7
    failed = await client.post(f"/thumbnail-jobs/{job_id}/finish", {"success": False, "errorMessage": "no"})
    assert failed.json["modelVersionId"] == 7


async def test_a_job_without_a_version_says_none(client: Client) -> None:
    await enqueue(client, 7)
    await client.enqueue(43)
    jobs = [await dequeue(client), await dequeue(client)]
    assert ["modelVersionId" in job for job in jobs] == [True, False]


async def test_each_version_keeps_its_own_picture(client: Client, thumbnail_root: Path) -> None:
    for version_id, content in ((7, picture("PNG")), (8, picture("JPEG"))):
        await enqueue(client, version_id)
        finished = await render(client, thumbnail_root / str(version_id), content)
        assert (finished["modelId"], finished["modelVersionId"], finished["status"]) == (42, version_id, "Ready")
    for version_id, content in ((7, picture("PNG")), (8, picture("JPEG"))):
        shown = (await client.get(f"/model-versions/{version_id}/thumbnail")).json
        assert (shown["status"], shown["modelVersionId"]) == ("Ready", version_id)
        assert shown["fileUrl"].startswith(f"/model-versions/{version_id}/thumbnail/file?v=")
        file = await client.get(shown["fileUrl"])
        assert (file.body, file.headers["Cache-Control"]) == (content, "public, max-age=86400, immutable")
    assert (await client.get("/models/42/thumbnail/file")).body == picture("JPEG")


async def test_a_version_shows_how_far_its_job_is(client: Client, thumbnail_root: Path) -> None:
    async def status() -> str:
        shown: str = (await client.get("/model-versions/7/thumbnail")).json["status"]
        return shown

    assert await status() == "Pending"  # as for a model that no producer has named
    assert (await client.get("/model-versions/7/thumbnail/file")).status == 404
    job_id = await enqueue(client, 7)
    assert await status() == "Pending"
    await render(client, thumbnail_root / "7", picture("PNG"))
    assert await status() == "Ready"
    await enqueue(client, 7, force=True)
    await dequeue(client)
    assert await status() == "Processing"
    await client.post(f"/api/thumbnail-jobs/{job_id}/fail", {"errorMessage": "no triangles", "retryable": False})
    shown = (await client.get("/model-versions/7/thumbnail")).json
    assert (shown["status"], shown["errorMessage"]) == ("Failed", "no triangles")
    assert (await client.get("/model-versions/7/thumbnail/file")).body == picture("PNG")


async def test_a_version_of_a_file_that_was_rendered_before_has_its_picture(
    client: Client, thumbnail_root: Path
) -> None:
    await client.enqueue(42, modelHash=file_of(7))
    await render(client, thumbnail_root / "7", picture("PNG"))
    answer = await client.post("/api/thumbnail-jobs", {"modelId": 42, "modelHash": file_of(7), "modelVersionId": 7})
    assert answer.json["outcome"] == "Existing"
    assert (await client.get("/model-versions/7/thumbnail/file")).body == picture("PNG")


async def test_a_version_that_gets_another_file_has_no_picture_until_that_is_rendered(
    client: Client, thumbnail_root: Path
) -> None:
    await enqueue(client, 7)
    await render(client, thumbnail_root / "7", picture("PNG"))
    await enqueue(client, 7, modelHash=file_of(70))
    assert (await client.get("/model-versions/7/thumbnail")).json["status"] == "Pending"
    assert (await client.get("/model-versions/7/thumbnail/file")).status == 404
    await render(client, thumbnail_root / "70", picture("JPEG"))
    assert (await client.get("/model-versions/7/thumbnail/file")).body == picture("JPEG")


async def test_a_page_hears_of_the_versions_it_has_joined(client: Client, thumbnail_root: Path) -> None:
    async with Hub.connected(client.http, "/thumbnailHub") as page:
        assert await page.call("JoinModelVersionGroup", "7") == []  # no producer has named it yet
        await enqueue(client, 7)
        waiting = await page.event("ThumbnailStatusChanged")
        assert (waiting["modelId"], waiting["modelVersionId"], waiting["status"]) == (42, 7, "Pending")
        await render(client, thumbnail_root / "7", picture("PNG"))
        while (ready := await page.event("ThumbnailStatusChanged"))["status"] != "Ready":
            pass
        assert (ready["modelVersionId"], ready["errorMessage"]) == (7, None)
        assert (await client.get(ready["thumbnailUrl"])).body == picture("PNG")
    async with Hub.connected(client.http, "/thumbnailHub") as page:
        present = (await page.call("JoinModelVersionGroup", "7"))[-1]
        assert present["arguments"][0]["status"] == "Ready"


async def test_a_page_hears_what_its_version_shows_after_a_hole_in_the_log(
    restartable: RestartableServer, thumbnail_root: Path
) -> None:
    async with running_gateway(restartable.address) as http, Hub.connected(http, "/thumbnailHub") as page:
        await enqueue(Client(http), 7)
        await page.call("JoinModelVersionGroup", "7")
        await restartable.stop()
        async with (
            running_server(restartable.database_url) as other,
            running_gateway(other, thumbnail_root=str(thumbnail_root)) as elsewhere,
        ):
            await render(Client(elsewhere), thumbnail_root / "7", picture("PNG"))
        async with Database(restartable.database_url) as database:
            while await maintenance.prune_log(database, 0, 100):
                pass
        await restartable.start()
        while (await page.event("ThumbnailStatusChanged"))["status"] != "Ready":
            pass


async def test_a_version_is_rendered_again_by_itself(client: Client, thumbnail_root: Path) -> None:
    jobs = []
    for version_id in (7, 8):
        jobs.append(await enqueue(client, version_id))
        await render(client, thumbnail_root / str(version_id), picture("PNG"))
    again = await client.post("/models/42/thumbnail/regenerate?versionId=7")
    assert (again.status, again.json["jobId"]) == (200, jobs[0])
    newest = await client.post("/models/42/thumbnail/regenerate?versionId=99")
    assert newest.json["jobId"] == jobs[1]


async def test_the_file_that_a_model_shows_is_the_one_that_is_rendered_again(
    client: Client, thumbnail_root: Path
) -> None:
    jobs = []
    for version_id in (7, 8, 7):
        jobs.append(await enqueue(client, version_id))
        await render(client, thumbnail_root / str(version_id), picture("PNG"))
    again = await client.post("/models/42/thumbnail/regenerate")
    assert (again.status, again.json["jobId"]) == (200, jobs[0])
    assert (await dequeue(client))["modelHash"] == file_of(7)


@pytest.mark.parametrize("version_id", [-1, "seven"])
async def test_a_version_that_is_no_id_is_refused(client: Client, version_id: object) -> None:
    body = {"modelId": 42, "modelHash": file_of(7), "modelVersionId": version_id}
    assert (await client.post("/api/thumbnail-jobs", body)).status == 400
    assert (await client.get("/model-versions/seven/thumbnail")).status == 404


async def test_a_server_that_starts_knows_of_the_versions_at_once(restartable: RestartableServer) -> None:
    async with running_gateway(restartable.address) as http:
        client = Client(http)
        await enqueue(client, 7)
        await restartable.stop()
        await restartable.start()
        while (answer := await client.post("/thumbnail-jobs/dequeue", {"workerId": "w"})).status != 200:
            assert answer.status == 503
        assert answer.json["modelVersionId"] == 7


async def test_many_versions_at_once_are_each_rendered_with_their_own_file(client: Client) -> None:
    await asyncio.gather(*[enqueue(client, version_id, model_id=version_id) for version_id in range(1, 31)])
    jobs = [await dequeue(client) for _ in range(30)]
    assert all(job["modelHash"] == file_of(job["modelVersionId"]) for job in jobs)
