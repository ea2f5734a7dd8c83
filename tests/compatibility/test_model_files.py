"""Files of models, for workers that fetch them where their jobs come from."""

from pathlib import Path

import pytest

from tests.support.gateway import running_gateway
from tests.support.http_client import Client


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
