"""Small files that went wrong once; each stands for a kind."""

import io
import struct
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from PIL import Image

from thumbq.render.child import Limits, RenderFailed
from thumbq.render.drawing.renderer import Renderer
from thumbq.render.system_libraries import advice, missing_libraries

MISSING = missing_libraries()
pytestmark = [pytest.mark.skipif(bool(MISSING), reason=advice(MISSING))]
CASES = Path(__file__).parents[1] / "cases"


@pytest.fixture(scope="module")
async def renderer() -> AsyncIterator[Renderer]:
    async with Renderer(Limits()) as renderer:
        yield renderer


@pytest.mark.parametrize(
    "name",
    [
        "end_solid.stl", "end_loop.stl", "upper.stl", "trail.stl", "stray.stl", "utm.stl", "utm.obj", "negvt.obj",
        "slashslash.obj", "slash.obj", "tabs.obj", "bom.obj", "cont.obj", "emptymtllib.obj", "casemtl.obj",
    ],
)  # fmt: skip
async def test_a_file_in_an_odd_spelling_is_drawn_whole(renderer: Renderer, name: str):
    model = await renderer.intake.take_file(CASES / name)
    assert not model.remarks
    assert _share((await renderer.draw(model)).files[0]) > 0.15


@pytest.mark.parametrize(
    ("name", "remark", "share"),
    [
        ("outrange.obj", "1 face or line is left out: line 5 names point 9, but the file has 3.", 0.15),
        ("missingtex.gltf", "nope.png, which the model refers to, is missing.", 0.15),
        ("points.gltf", None, 0.004),
        ("lines.gltf", None, 0.01),
    ],
)
async def test_what_can_be_drawn_is_drawn_and_the_rest_is_said(
    renderer: Renderer, name: str, remark: str | None, share: float
):
    model = await renderer.intake.take_file(CASES / name)
    assert list(model.remarks) == ([remark] if remark else [])
    assert _share((await renderer.draw(model)).files[0]) > share


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("countbig.stl", "The STL file is incomplete: 4 of 100 triangles."),
        ("unknownext.gltf", "The file needs the extension EXT_something_unknown, which is not supported."),
    ],
)
async def test_a_file_that_cannot_be_drawn_says_why(renderer: Renderer, name: str, sentence: str):
    with pytest.raises(RenderFailed) as failure:
        await renderer.render(CASES / name)
    assert str(failure.value) == sentence
    assert not failure.value.retryable


async def test_a_material_file_in_the_wrong_case_colours_the_model(renderer: Renderer):
    picture = Image.open(io.BytesIO((await renderer.render(CASES / "casemtl.obj")).files[0])).convert("RGBA")
    red, green, _, alpha = picture.getpixel((256, 300))  # type: ignore[misc]
    assert alpha > 200
    assert red > 2 * green


async def test_whole_numbers_far_from_the_origin_are_drawn(renderer: Renderer, tmp_path: Path):
    axes, far = b"property int x\nproperty int y\nproperty int z\n", 500_000_000
    header = b"ply\nformat binary_little_endian 1.0\nelement vertex 4\n" + axes
    header += b"element face 4\nproperty list uchar int vertex_indices\nend_header\n"
    points = [(0, 0, 0), (100_000, 0, 0), (0, 100_000, 0), (0, 0, 100_001)]
    content = b"".join(struct.pack("<3i", far + x, far + y, far + z) for x, y, z in points)
    faces = [(0, 2, 1), (0, 1, 3), (0, 3, 2), (1, 2, 3)]
    (tmp_path / "7.ply").write_bytes(header + content + b"".join(struct.pack("<B3i", 3, *face) for face in faces))
    model = await renderer.intake.take_file(tmp_path / "7.ply")
    assert axes.replace(b"int", b"double") in model.path.read_bytes()
    assert _share((await renderer.draw(model)).files[0]) > 0.15


def _share(picture: bytes) -> float:
    alpha = Image.open(io.BytesIO(picture)).convert("RGBA").getchannel("A")
    return sum(alpha.histogram()[64:]) / (alpha.width * alpha.height)
