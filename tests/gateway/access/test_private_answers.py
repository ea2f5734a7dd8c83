"""Where callers need a key, their answers are theirs: no cache on the way gives them to others."""

from pathlib import Path

from tests.compatibility.pictures import picture
from tests.gateway.access.test_keys import guarded
from tests.support.network.http_client import Client, digest
from tests.support.service.keys import bearer

KEPT = {
    "/models/1/thumbnail": "private, max-age=3600",
    "/models/1/thumbnail/file": "private, max-age=60",
    "/models/1/file": "private",
    "/api/thumbnail-jobs": "private",
}


async def test_an_answer_to_a_key_or_a_ticket_may_be_kept_by_its_caller_alone(
    database_url: str, tmp_path: Path
) -> None:
    file, model = tmp_path / "1.png", tmp_path / "1.glb"
    file.write_bytes(picture("PNG"))
    model.write_bytes(b"glTF")
    async with guarded(database_url, thumbnail_root=tmp_path, model_root=tmp_path) as queue:
        client, operator = Client(queue.http), bearer(queue.keys["admin"])
        job = {"modelId": 1, "modelHash": digest(1)}
        assert (await client.post("/api/thumbnail-jobs", job, headers=operator)).status == 200
        claim = await client.post("/api/thumbnail-jobs/dequeue", {"workerId": "w"}, headers=operator)
        report = {"thumbnailPath": str(file), "sizeBytes": 1, "width": 1, "height": 1}
        path = f"/api/thumbnail-jobs/{claim.json['id']}/complete"
        assert (await client.post(path, report, headers=operator)).status == 200
        for path, policy in KEPT.items():
            answer = await client.get(path, headers=operator)
            assert (answer.status, answer.headers["Cache-Control"]) == (200, policy), path

        asked = await client.post("/api/tickets", {"modelIds": [1]}, headers=operator)
        for path in ("/models/1/thumbnail", "/models/1/thumbnail/file"):
            answer = await client.get(path, headers=bearer(asked.json["ticket"]))
            assert (answer.status, answer.headers["Cache-Control"]) == (200, KEPT[path]), path
            tag = {"If-None-Match": answer.headers["ETag"], **operator}
            again = await client.get(path, headers=tag)
            assert (again.status, again.headers["Cache-Control"]) == (304, KEPT[path]), path
        assert "private" not in (await client.get("/")).headers.get("Cache-Control", "")
