"""STL text is read by the block, and holds the same triangles wherever a block ends."""

import struct
from pathlib import Path

import pytest

from thumbq.render.files.companions import Companions, FetchedSource
from thumbq.render.repair import stl

TRIANGLE = b"facet\nvertex 0 0 0\nvertex 1 0 0\nvertex 0 1 0\nendfacet\n"


@pytest.mark.parametrize("length", [stl.BLOCK - 1, stl.BLOCK, stl.BLOCK + 1, 2 * stl.BLOCK])
@pytest.mark.parametrize("count", [1, 1000])
def test_a_file_of_any_length_is_whole(tmp_path: Path, length: int, count: int):
    raw, path = tmp_path / "raw", tmp_path / "model.stl"
    text, end = b"solid a\n" + TRIANGLE * count, b"endsolid a\n"
    raw.write_bytes(text + b" " * (length - len(text) - len(end)) + end)
    stl.repair(raw, path, Companions(FetchedSource({}), tmp_path, length), length)
    content = path.read_bytes()
    assert struct.unpack_from("<I", content, stl.HEADER - 4) == (count,)
    assert len(content) == stl.HEADER + count * stl.TRIANGLE
