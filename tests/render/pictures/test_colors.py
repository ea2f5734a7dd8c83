"""A model has the same colours whatever format it comes in."""

import io
import struct
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path

import pytest
from PIL import Image, ImageStat

from tests.render.gallery import clouds, meshes
from thumbq.render.child import Limits
from thumbq.render.drawing.renderer import Renderer
from thumbq.render.samples import files, things
from thumbq.render.samples.mesh import Part
from thumbq.render.system_libraries import advice, missing_libraries

MISSING = missing_libraries()
pytestmark = [pytest.mark.skipif(bool(MISSING), reason=advice(MISSING))]
LAS_HEADER, LAS_POINT, LAS_COLOR = 227, 26, 20


@pytest.fixture(scope="module")
async def renderer() -> AsyncIterator[Renderer]:
    async with Renderer(Limits()) as renderer:
        yield renderer


async def _color(renderer: Renderer, path: Path, content: bytes) -> list[float]:
    """Return the mean red, green and blue of what is opaque in a picture."""
    path.write_bytes(content)
    picture = Image.open(io.BytesIO((await renderer.render(path)).files[0])).convert("RGBA")
    opaque = picture.getchannel("A").point(lambda value: 255 if value > 200 else 0)
    return ImageStat.Stat(picture.convert("RGB"), opaque).mean


@pytest.mark.parametrize(
    ("name", "encode"),
    [("a.3mf", meshes.threemf), ("a.dae", meshes.dae), ("a.3ds", meshes.threeds), ("a.wrl", meshes.wrl),
     ("a.ply", meshes.ply)],
)  # fmt: skip
async def test_web_colours_are_as_strong_as_the_linear_ones_of_gltf(
    tmp_path: Path, renderer: Renderer, name: str, encode: Callable[[Sequence[Part]], bytes]
):
    expected = await _color(renderer, tmp_path / "a.gltf", files.gltf(things.house()))
    assert await _color(renderer, tmp_path / name, encode(things.house())) == pytest.approx(expected, abs=5)


async def test_a_las_with_colours_of_eight_bits_is_as_bright_as_one_with_sixteen(tmp_path: Path, renderer: Renderer):
    deep = clouds.las(clouds.hills(20_000))
    expected = await _color(renderer, tmp_path / "deep.las", deep)
    shallow = bytearray(deep)
    for start in range(LAS_HEADER + LAS_COLOR, len(deep), LAS_POINT):
        struct.pack_into("<3H", shallow, start, *(value >> 8 for value in struct.unpack_from("<3H", deep, start)))
    assert await _color(renderer, tmp_path / "shallow.las", bytes(shallow)) == pytest.approx(expected, abs=5)
