"""Nothing outside a model's own folder gets into its picture: neither by the checks alone, nor by the walls alone."""

import asyncio
import io
import json
import os
import stat
import zipfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from PIL import Image

from tests.render.hostile import models as hostile
from thumbq.render.child import Limits, RenderFailed
from thumbq.render.drawing.renderer import WALLS, Renderer
from thumbq.render.intake.model import Intake, Model
from thumbq.render.system_libraries import advice, missing_libraries

MISSING = missing_libraries()
needs_renderer = pytest.mark.skipif(bool(MISSING), reason=advice(MISSING))


@pytest.fixture
def own(tmp_path: Path) -> Path:
    (tmp_path / "own").mkdir()
    return tmp_path / "own"


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    return hostile.secret(tmp_path / "secret.png")


@pytest.fixture(scope="module")
async def unwalled() -> AsyncIterator[Renderer]:
    """What draws where the kernel has neither Landlock nor namespaces."""
    async with Renderer(Limits(), walls=()) as renderer:
        yield renderer


@pytest.fixture(scope="module", params=WALLS)
async def walled(request: pytest.FixtureRequest) -> AsyncIterator[Renderer]:
    """What draws behind one of the walls."""
    async with Renderer(Limits(), walls=[request.param]) as renderer:
        await renderer.start()
        if request.param not in renderer.confined:
            pytest.skip(f"this kernel has no {request.param}")
        yield renderer


@needs_renderer
@pytest.mark.parametrize("word", hostile.WRITERS)
async def test_a_texture_beside_the_model_is_seen(unwalled: Renderer, own: Path, word: str):
    """Else the other tests would prove nothing."""
    hostile.secret(own / "own.png")
    assert hostile.shows_magenta(await _drawn(unwalled, hostile.write(own, word, "own.png")))


@needs_renderer
@pytest.mark.parametrize("word", hostile.WRITERS)
async def test_a_picture_elsewhere_is_not_seen_where_there_are_no_walls(
    unwalled: Renderer, own: Path, secret: Path, word: str
):
    assert not hostile.shows_magenta(await _drawn(unwalled, hostile.write(own, word, str(secret))))


@needs_renderer
@pytest.mark.parametrize("word", hostile.WRITERS)
async def test_the_walls_hold_when_the_checks_have_missed_something(walled: Renderer, secret: Path, word: str):
    """The model is put before the renderer as it is."""
    path = hostile.write(walled.intake.checked, word, str(secret))
    try:
        pictures = await walled.draw(Model(path, word, path.name, ()))
    except RenderFailed:
        return
    finally:
        for file in walled.intake.checked.iterdir():
            file.unlink()
    assert not hostile.shows_magenta(Image.open(io.BytesIO(pictures.files[0])))


@pytest.mark.parametrize("word", hostile.WRITERS)
@pytest.mark.parametrize("kind", ["absolute", "above", "file", "backslashes", "encoded", "link", "folder link"])
async def test_no_kind_of_reference_brings_a_file_from_elsewhere_to_the_renderer(
    intake: Intake, own: Path, secret: Path, word: str, kind: str
):
    (own / "link.png").symlink_to(secret)
    (own / "folder").symlink_to(secret.parent)
    reference = {
        "absolute": str(secret),
        "above": "../secret.png",
        "file": f"file://{secret}",
        "backslashes": "..\\secret.png",
        "encoded": "%2e%2e/secret.png",
        "link": "link.png",
        "folder link": "folder/secret.png",
    }[kind]
    model = await intake.take_file(hostile.write(own, word, reference))
    content = secret.read_bytes()
    staged = {file.name: file.read_bytes() for file in model.path.parent.iterdir()}
    assert not [name for name, found in staged.items() if content in found]
    assert str(secret.parent).encode() not in staged[model.path.name]
    assert model.remarks


@pytest.mark.parametrize("reference", ["/etc/hostname", "../other.bin", "link.bin", "fifo.bin"])
async def test_a_buffer_elsewhere_is_the_end_of_a_gltf(intake: Intake, own: Path, reference: str):
    (own.parent / "other.bin").write_bytes(bytes(64))
    (own / "link.bin").symlink_to(own.parent / "other.bin")
    os.mkfifo(own / "fifo.bin")
    _write_gltf(own, buffers=[{"uri": reference, "byteLength": 4}])
    with pytest.raises(RenderFailed, match=r"which the model refers to, (is missing|cannot be used)") as failure:
        await intake.take_file(own / "7.gltf")
    assert not failure.value.retryable


async def test_very_many_missing_textures_are_told_in_a_few_sentences(intake: Intake, own: Path):
    _write_gltf(own, images=[{"uri": f"{number}.png"} for number in range(150)])
    model = await intake.take_file(own / "7.gltf")
    assert len(model.remarks) == 10
    assert model.remarks[-1] == "There are 141 more such faults."


async def test_a_material_file_elsewhere_is_not_read(intake: Intake, own: Path):
    (own.parent / "other.mtl").write_text("newmtl m\nKd 1 0 1\n")
    (own / "7.obj").write_text("mtllib ../other.mtl\nv 0 0 0\nv 1 0 0\nv 0 1 0\nusemtl m\nf 1 2 3\n")
    model = await intake.take_file(own / "7.obj")
    assert sorted(file.name for file in model.path.parent.iterdir()) == ["model.obj"]
    assert model.remarks == ("other.mtl, which the model refers to, is missing.",)


@pytest.mark.parametrize(
    "word", ["map_Kd", "map_Ka", "map_Ks", "map_Ns", "map_d", "map_bump", "bump", "disp", "decal", "refl"]
)
async def test_no_statement_of_a_material_leads_elsewhere(intake: Intake, own: Path, secret: Path, word: str):
    (own / "7.obj").write_bytes(hostile.obj(""))
    (own / "7.mtl").write_text(f"newmtl m\nKd 1 1 1\n{word} -bm 1 {secret}\n  {word.upper()}\t-clamp on {secret}\n")
    model = await intake.take_file(own / "7.obj")
    staged = {file.name: file.read_bytes() for file in model.path.parent.iterdir()}
    # The material file itself is there under a name of ours, which nothing refers to.
    assert set(staged) == {"model.obj", "model.mtl", "companion0.mtl"}
    assert b"companion0" not in staged["model.obj"] + staged["model.mtl"]
    assert str(secret.parent).encode() not in staged["model.mtl"]


@pytest.mark.parametrize("name", ["/etc/hostname.mtl", "file:///etc/hostname.mtl", "..\\other.mtl", "link.mtl"])
async def test_a_material_file_is_the_folder_s_own(intake: Intake, own: Path, name: str):
    (own.parent / "other.mtl").write_text("newmtl m\nKd 1 0 1\n")
    (own / "link.mtl").symlink_to(own.parent / "other.mtl")
    (own / "7.obj").write_bytes(hostile.obj("").replace(b"7.mtl", name.encode()))
    model = await intake.take_file(own / "7.obj")
    assert [file.name for file in model.path.parent.iterdir()] == ["model.obj"]
    assert model.remarks


@pytest.mark.parametrize("name", ["../secret.png", "/secret.png", "a/../../secret.png", "..\\secret.png", "link.png"])
async def test_no_entry_of_an_archive_leads_elsewhere(intake: Intake, own: Path, secret: Path, name: str):
    """An entry may have any name, and may be a link to any path: it is read within the archive, or not at all."""
    entry = zipfile.ZipInfo(name)
    entry.external_attr = (stat.S_IFLNK if name == "link.png" else stat.S_IFREG) << 16
    with zipfile.ZipFile(own / "7.zip", "w") as archive:
        archive.writestr("7.gltf", hostile.gltf(name))
        archive.writestr(entry, str(secret))
    model = await intake.take_file(own / "7.zip")
    content = secret.read_bytes()
    assert not [file.name for file in model.path.parent.iterdir() if content in file.read_bytes()]
    assert sorted(file.name for file in own.parent.rglob("*") if file.is_file()) == ["7.zip", "secret.png"]
    assert model.remarks


async def test_a_model_may_refer_to_two_hundred_files(intake: Intake, own: Path):
    _write_gltf(own, images=[{"uri": f"{number}.png"} for number in range(300)])
    with pytest.raises(RenderFailed, match=r"^The model refers to more than 200 files\.$"):
        await intake.take_file(own / "7.gltf")


def _write_gltf(folder: Path, **parts: object) -> None:
    (folder / "7.gltf").write_text(json.dumps({"asset": {"version": "2.0"}, **parts}))


async def _drawn(renderer: Renderer, path: Path) -> Image.Image:
    return await asyncio.to_thread(Image.open, io.BytesIO((await renderer.render(path)).files[0]))
