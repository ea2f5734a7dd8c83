"""Every format is known by its name and by its content, and becomes a picture."""

import io
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from PIL import Image

from thumbq.cli.worker.command import HELP
from thumbq.render.child import Limits, RenderFailed
from thumbq.render.drawing.renderer import Renderer
from thumbq.render.formats import CAN_BE_DRAWN, FORMATS, NAMES, REFUSED, format_of_name
from thumbq.render.intake.detection import format_of_content, format_of_file
from thumbq.render.intake.model import Intake
from thumbq.render.samples import CATALOGUE, CORRUPT
from thumbq.render.system_libraries import advice, missing_libraries

MISSING = missing_libraries()
ROOT = Path(__file__).parents[3]
MODELS = Path(__file__).parents[1] / "models"
FILES = sorted(path.name for path in MODELS.iterdir() if path.suffix != ".md")


@pytest.fixture(scope="module")
async def renderer() -> AsyncIterator[Renderer]:
    async with Renderer(Limits()) as renderer:
        yield renderer


@pytest.mark.skipif(bool(MISSING), reason=advice(MISSING))
@pytest.mark.parametrize("name", FILES)
async def test_a_model_of_each_format_becomes_a_picture(renderer: Renderer, name: str):
    pictures = await renderer.render(MODELS / name)
    alpha = Image.open(io.BytesIO(pictures.files[0])).convert("RGBA").getchannel("A")
    assert sum(alpha.histogram()[128:]) > 0.05 * alpha.width * alpha.height


def test_there_is_a_model_of_each_format():
    samples = {format_of_name(name) for name in CATALOGUE if name != CORRUPT}
    assert samples | {format_of_name(name) for name in FILES} == set(FORMATS)


@pytest.mark.parametrize("name", [name for name in FILES if not name.endswith(".splat")])
def test_a_file_without_a_name_is_known_by_its_content(name: str):
    assert format_of_content(MODELS / name) == format_of_name(name)


@pytest.mark.parametrize(
    ("content", "name", "expected"),
    [
        (b"glTF\2\0\0\0", "scene.gltf", "glb"),
        (b"v 0 0 0\nv 1 0 0\n", "points.stl", "obj"),
        (b"solid a\nfacet normal 0 0 1\n", "mesh.obj", "stl"),
        (b"PK\3\4", "model.obj", "zip"),
        (b"\1\2\3", "model.splat", "splat"),
        (b"BLENDER-v300", "model.glb", "BLEND"),
    ],
)
def test_content_is_stronger_than_a_name_that_it_does_not_bear_out(
    tmp_path: Path, content: bytes, name: str, expected: str
):
    (tmp_path / name).write_bytes(content)
    assert format_of_file(tmp_path / name, name) == expected


@pytest.mark.parametrize(
    ("name", "content", "word"),
    [
        ("a.usdz", b"PK\3\4", "USDZ"),
        ("a.3dm", b"3D Geometry File Format ", "3DM"),
        ("a.amf", b'<?xml version="1.0"?>\n<amf unit="inch"/>', "AMF"),
        ("a.blend", b"BLENDER-v300", "BLEND"),
        ("a", b"BLENDER-v300", "BLEND"),
        ("a.usd", b"#usda 1.0\n", "USD"),
    ],
)
async def test_a_format_without_a_reader_is_refused_with_what_there_is_instead(
    tmp_path: Path, intake: Intake, name: str, content: bytes, word: str
):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(RenderFailed) as refusal:
        await intake.take_file(tmp_path / name)
    assert str(refusal.value) == f"{word} files cannot be rendered. {CAN_BE_DRAWN}"
    assert not refusal.value.retryable


async def test_a_file_in_capitals_is_a_model_too(tmp_path: Path, intake: Intake):
    shutil.copy(MODELS / "box.off", tmp_path / "BOX.OFF")
    assert (await intake.take_file(tmp_path / "BOX.OFF")).format == "off"


def test_readme_and_documents_list_the_formats_of_the_table():
    readme, document = (" ".join((ROOT / name).read_text().split()) for name in ("README.md", "docs/rendering.md"))
    assert f"renders {NAMES} files" in readme
    for row in FORMATS.values():
        suffixes = ", ".join(f"`{suffix}`" for suffix in row.suffixes)
        assert f"| {row.name} | {suffixes} | {row.up} |" in document
    for name in set(REFUSED.values()):
        assert name in document.partition("## Refused files")[2]


def test_the_help_lists_the_formats_of_the_table():
    assert CAN_BE_DRAWN in HELP
