"""Files of models, for workers that fetch them where their jobs come from."""

import os
from pathlib import Path

import pytest

from tests.support.network.http_client import Client, digest
from tests.support.service.gateway import running_gateway
from tests.support.stores.object_store import BUCKET, ObjectStore
from thumbq.render import formats
from thumbq_gateway.http.files.models import folder
from thumbq_gateway.settings import Settings
from thumbq_runtime.files.objects import InvalidStore, Objects


@pytest.fixture
def model_root(tmp_path: Path) -> Path:
    root = tmp_path / "models"
    (root / "42" / "versions").mkdir(parents=True)
    (root / "42-chair.glb").write_bytes(b"glTF of the model")
    (root / "42" / "versions" / "7.obj").write_bytes(b"v 0 0 0")
    (root / "422.glb").write_bytes(b"of another model")
    return root


async def test_a_model_and_a_version_come_with_a_name_that_tells_their_kind(server: str, model_root: Path) -> None:
    async with running_gateway(server, model_root=model_root) as http:
        client = Client(http)
        model = await client.get("/models/42/file")
        assert (model.status, model.body) == (200, b"glTF of the model")
        assert model.headers["Content-Disposition"] == 'attachment; filename="42-chair.glb"'
        assert model.content_type == "model/gltf-binary"
        part = await client.get("/models/42/file", headers={"Range": "bytes=0-3"})
        assert (part.status, part.body) == (206, b"glTF")
        version = await client.get("/models/42/versions/7/file")
        assert (version.status, version.body) == (200, b"v 0 0 0")
        assert version.headers["Content-Disposition"] == 'attachment; filename="7.obj"'


async def test_what_is_beside_a_model_is_not_taken_for_it(server: str, model_root: Path) -> None:
    for name in ("42-chair.mtl", "42-wood.png", "42-chair.glb.tmp"):
        (model_root / name).write_bytes(b"no model")
        os.utime(model_root / name, (2e9, 2e9))
    async with running_gateway(server, model_root=model_root) as http:
        assert (await Client(http).get("/models/42/file")).body == b"glTF of the model"


def test_the_formats_are_those_that_the_reference_worker_knows() -> None:
    known = formats.SUFFIXES.keys() | formats.REFUSED.keys() | set(formats.ARCHIVES)
    assert {f".{suffix}" for suffix in folder.SUFFIXES.split("|")} == known


async def test_a_model_without_a_file_or_with_a_link_out_of_the_folder_is_not_found(
    server: str, model_root: Path, tmp_path: Path
) -> None:
    (tmp_path / "secret.glb").write_bytes(b"secret")
    (model_root / "43.glb").symlink_to(tmp_path / "secret.glb")
    async with running_gateway(server, model_root=model_root) as http:
        for path in ("/models/4/file", "/models/43/file", "/models/42/versions/8/file", "/models/9/versions/7/file"):
            assert (await Client(http).get(path)).status == 404, path


async def test_without_a_folder_there_are_none(client: Client) -> None:
    assert (await client.get("/models/42/file")).status == 404


async def test_models_of_a_store_come_by_the_hash_of_the_job_in_hand_or_else_of_the_newest(
    server: str, object_store: ObjectStore
) -> None:
    kept = Objects(object_store.address)
    for content, model_hash in ((b"glTF older", digest(1)), (b"glTF newer", digest(2))):
        await kept.put(f"models/{model_hash}.glb", content, "model/gltf-binary")
    async with running_gateway(server, model_store=f"s3://{BUCKET}/models/{{model_hash}}.glb") as http:
        client = Client(http)
        assert (await client.get("/models/42/file")).json["message"] == "There is no file of model 42."
        await client.enqueue(42, modelHash=digest(1), modelVersionId=7)
        model = await client.get("/models/42/file", headers={"Range": "bytes=0-5"})
        assert (model.status, model.body, model.content_type) == (206, b"glTF o", "model/gltf-binary")
        assert model.headers["Content-Disposition"] == f'attachment; filename="{digest(1)}.glb"'
        await client.dequeue()
        await client.enqueue(42, modelHash=digest(2), modelVersionId=8)
        assert (await client.get("/models/42/file")).body == b"glTF older", "a worker has it in hand"
        assert (await client.get("/models/42/versions/8/file")).body == b"glTF newer"
        await client.enqueue(43, modelHash=digest(2))
        assert (await client.get("/models/43/file")).body == b"glTF newer"
        await client.enqueue(44, modelHash=digest(3))
        for path in ("/models/44/file", "/models/43/versions/8/file", "/models/0/file", f"/models/{'9' * 19}/file"):
            assert (await client.get(path)).status == 404, path
        object_store.stop()
        away = await client.get("/models/42/file")
        assert (away.status, away.json["message"]) == (503, "The object store cannot be reached, or is broken.")


async def test_the_file_of_a_model_is_that_of_the_picture_it_shows(server: str, object_store: ObjectStore) -> None:
    kept = Objects(object_store.address)
    picture = {"thumbnailPath": "/pictures/42.webp", "sizeBytes": 1, "width": 1, "height": 1}
    async with running_gateway(server, model_store=f"s3://{BUCKET}/{{model_hash}}") as http:
        client = Client(http)
        for content, model_hash in ((b"older", digest(1)), (b"newer", digest(2)), (b"older", digest(1))):
            await kept.put(model_hash, content, "model/gltf-binary")
            job_id = await client.enqueue(42, modelHash=model_hash)
            await client.dequeue()
            assert (await client.post(f"/api/thumbnail-jobs/{job_id}/complete", picture)).status == 200
            assert (await client.get("/models/42/file")).body == content


async def test_models_of_a_store_may_be_named_by_their_number_alone(server: str, object_store: ObjectStore) -> None:
    await Objects(object_store.address).put("42.obj", b"v 0 0 0", "model/obj")
    async with running_gateway(server, model_store=f"s3://{BUCKET}/{{model_id}}.obj") as http:
        client = Client(http)
        model = await client.get("/models/42/file")
        assert (model.status, model.body, model.content_type) == (200, b"v 0 0 0", "model/obj")
        assert (await client.get("/models/42/versions/7/file")).status == 404
    for wrong in ("s3://bucket/model.glb", "https://store/{model_id}", "models/{model_id}"):
        with pytest.raises(InvalidStore):
            Settings(model_store=wrong).models()
