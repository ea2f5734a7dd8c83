"""What lies beside a model on the web, or with it in an archive."""

import hashlib
import io
import zipfile
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from aiohttp import web
from PIL import Image

from tests.render.hostile import models as hostile
from thumbq.render.child import RenderFailed
from thumbq.render.intake.model import Intake, Model
from thumbq.render.jobs.model_files import ModelUrls
from thumbq.tls import Tls


@dataclass
class Site:
    """A web server with files, and a list of what it was asked for."""

    address: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    redirected: dict[str, str] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    async def answer(self, request: web.Request) -> web.Response:
        self.asked.append(request.path)
        if request.path in self.redirected:
            raise web.HTTPFound(self.redirected[request.path])
        if request.path not in self.files:
            raise web.HTTPNotFound
        return web.Response(body=self.files[request.path])


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    site = Site()
    app = web.Application()
    app.router.add_get("/{path:.*}", site.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    site.address = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield site
    await runner.cleanup()


@pytest.fixture
def picture(tmp_path: Path) -> bytes:
    return hostile.secret(tmp_path / "own.png").read_bytes()


async def test_materials_and_their_textures_are_fetched_from_beside_the_model(
    site: Site, intake: Intake, picture: bytes
):
    site.files = {"/m/7.mtl": hostile.mtl("maps/wood grain.png"), "/m/maps/wood grain.png": picture}
    model = await _take(site, intake, "/m/model.obj", hostile.obj(""))
    assert not model.remarks
    assert "map_Kd t0" in (model.path.parent / "model.mtl").read_text()
    assert (model.path.parent / "t0").read_bytes() == picture
    assert site.asked == ["/m/model.obj", "/m/7.mtl", "/m/maps/wood grain.png"]


@pytest.mark.parametrize("reference", ["http://127.0.0.1:9/own.png", "//127.0.0.1:9/own.png", "../../own.png"])
async def test_no_other_place_is_asked_for_a_companion(site: Site, intake: Intake, picture: bytes, reference: str):
    site.files = {"/own.png": picture}
    model = await _take(site, intake, "/m/model.gltf", hostile.gltf(reference))
    assert model.remarks == ("own.png, which the model refers to, " + _reason(reference),)
    assert set(site.asked) <= {"/m/model.gltf", "/m/own.png"}


async def test_a_companion_is_not_followed_to_where_it_is_redirected(site: Site, intake: Intake, picture: bytes):
    site.redirected = {"/m/own.png": f"{site.address}/elsewhere/own.png"}
    site.files = {"/elsewhere/own.png": picture}
    model = await _take(site, intake, "/m/model.gltf", hostile.gltf("own.png"))
    assert model.remarks == ("own.png, which the model refers to, is missing.",)
    assert "/elsewhere/own.png" not in site.asked


async def test_all_files_of_a_model_together_are_bounded(site: Site, intake: Intake):
    site.files = {"/m/own.png": bytes(intake.most_bytes - 100)}
    with pytest.raises(RenderFailed, match=r"with what it refers to, is larger than the limit of 1 MB\.$") as failure:
        await _take(site, intake, "/m/model.gltf", hostile.gltf("own.png"))
    assert not failure.value.retryable


async def test_a_model_comes_out_of_an_archive_with_its_companions(tmp_path: Path, intake: Intake, picture: bytes):
    entries = {"a/Model.OBJ": hostile.obj(""), "a/7.MTL": hostile.mtl("tex\\Own.png"), "a/tex/own.PNG": picture}
    model = await intake.take_file(_archive(tmp_path, entries | {"__MACOSX/a/._Model.OBJ": b"", "readme.txt": b""}))
    assert (model.format, model.remarks) == ("obj", ())
    assert (model.path.parent / "t0").read_bytes() == picture


async def test_an_archive_that_a_server_sends_without_a_name_is_known(site: Site, intake: Intake, tmp_path: Path):
    content = _archive(tmp_path, {"box.obj": hostile.obj("")}).read_bytes()
    model = await _take(site, intake, "/7/file", content)
    assert model.format == "obj"
    assert site.asked == ["/7/file"]


@pytest.mark.parametrize(
    ("entries", "found"),
    [({"a.txt": b""}, "none."), ({"a.obj": b"v", "b.stl": b"s"}, "2 (a.obj, b.stl).")],
)
async def test_an_archive_holds_one_model(tmp_path: Path, intake: Intake, entries: dict[str, bytes], found: str):
    with pytest.raises(RenderFailed) as failure:
        await intake.take_file(_archive(tmp_path, entries))
    assert str(failure.value) == f"An archive must hold one model; this one holds {found}"


async def test_an_archive_reaches_nothing_beside_itself(tmp_path: Path, intake: Intake, picture: bytes):
    path = _archive(tmp_path, {"a/model.gltf": hostile.gltf("../../own.png")})
    assert (tmp_path / "own.png").read_bytes() == picture
    model = await intake.take_file(path)
    assert model.remarks == ("own.png, which the model refers to, is missing.",)


@pytest.mark.parametrize("kind", ["WEBP", "BMP", "TGA", "PNG", "JPEG"])
async def test_textures_of_any_kind_reach_the_renderer_in_one_that_it_reads(tmp_path: Path, intake: Intake, kind: str):
    Image.new("RGB", (3000, 10), (200, 0, 0)).save(tmp_path / "texture.dat", kind)
    (tmp_path / "7.gltf").write_bytes(hostile.gltf("texture.dat"))
    model = await intake.take_file(tmp_path / "7.gltf")
    staged = Image.open(io.BytesIO((model.path.parent / "texture0").read_bytes()))
    assert staged.format in {"PNG", "JPEG"}
    assert staged.width == 2048


@pytest.mark.parametrize("content", [b"hello", b"\x89PNG\r\n\x1a\n" + bytes(50)])
async def test_a_damaged_texture_costs_the_texture(tmp_path: Path, intake: Intake, content: bytes):
    (tmp_path / "own.png").write_bytes(content)
    (tmp_path / "7.gltf").write_bytes(hostile.gltf("own.png"))
    model = await intake.take_file(tmp_path / "7.gltf")
    assert model.remarks == ("Texture 0 is damaged, or of a kind that is not read.",)
    assert b"baseColorTexture" not in model.path.read_bytes()


def _reason(reference: str) -> str:
    return "lies outside the model's folder." if reference.startswith("http") else "is missing."


def _archive(folder: Path, entries: dict[str, bytes]) -> Path:
    path = folder / "model.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    return path


async def _take(site: Site, intake: Intake, path: str, content: bytes) -> Model:
    site.files[path] = content
    source = ModelUrls(f"{site.address}{path}?of={{model_hash}}", Tls())
    return await source.take(intake, 7, hashlib.sha256(content).hexdigest())
