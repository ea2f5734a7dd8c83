"""Refuses models whose faces have more corners than the renderer can cut into triangles in a bearable time.

The time grows with the square of a face's corners: a face of 20,000 takes about two seconds. What a text or a tree of
nodes hides from these searches is left to the time limit.
"""

import re
import struct
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path

from thumbq.render.files.refusal import Refused

# Up to here the renderer cuts a face at once.
WIDE = 64
# The sum of the squares of the corners of all wide faces: as of one face of 31,622 corners.
MOST_WORK = 1_000_000_000
LARGEST_ARRAY = 256 << 20

_COUNTS = re.compile(rb"<vcount\b[^>]*>([^<]*)")
_POLYGONS = re.compile(rb"<polygons\b.*?</polygons\s*>", re.DOTALL)
_POLYGON = re.compile(rb"<p\b[^>]*>([^<]*)")
_OFFSET = re.compile(rb"\boffset\s*=\s*[\"'](\d+)")
_X_MESH = re.compile(rb"\bMesh\b[^{};]*\{([^{}]*)")
_X_FACE = re.compile(rb"(?:\d+\s*,\s*){%d,}\d+" % WIDE)
_FBX_TEXT = re.compile(rb"\bPolygonVertexIndex:[^{}]*\{\s*(?:a:)?([^{}]*)")
_FBX_BINARY = re.compile(rb"PolygonVertexIndexi(.{12})", re.DOTALL)
_WRL_CORNERS = re.compile(rb"\bcoordIndex\s*\[([^\]]*)")
_LAST_CORNER = re.compile(rb"-\d+")


def check_widths(name: str, widths: Iterable[int]) -> None:
    """Refuse a file in the format called `name` whose faces have these numbers of corners, if they are too many."""
    work = faces = widest = 0
    for width in widths:
        if width > WIDE:
            work, faces, widest = work + width * width, faces + 1, max(widest, width)
    if work > MOST_WORK:
        wide = (
            f"a face of {widest} corners, which takes"
            if faces == 1
            else f"{faces} faces of up to {widest} corners, which take"
        )
        raise Refused(f"The {name} file has {wide} too long to cut into triangles.")


def check_dae(path: Path) -> None:
    """Refuse a COLLADA file with such faces."""
    check_widths("COLLADA", _dae_widths(path.read_bytes()))


def check_x(path: Path) -> None:
    """Refuse a DirectX file with such faces."""
    bodies = _X_MESH.finditer(path.read_bytes())
    check_widths("DirectX", (found[0].count(b",") + 1 for body in bodies for found in _X_FACE.finditer(body[1])))


def check_fbx(path: Path) -> None:
    """Refuse an FBX file with such faces."""
    check_widths("FBX", _fbx_widths(path.read_bytes()))


def check_wrl(path: Path) -> None:
    """Refuse a VRML file with such faces."""
    lists = _WRL_CORNERS.finditer(path.read_bytes())
    check_widths("VRML", (len(face.replace(b",", b" ").split()) for found in lists for face in found[1].split(b"-1")))


def _dae_widths(content: bytes) -> Iterator[int]:
    for found in _COUNTS.finditer(content):
        yield from (int(word) for word in found[1].split() if word.isdigit())
    for polygons in _POLYGONS.finditer(content):
        parts = 1 + max((int(offset[1]) for offset in _OFFSET.finditer(polygons[0])), default=0)
        yield from (len(found[1].split()) // parts for found in _POLYGON.finditer(polygons[0]))


def _fbx_widths(content: bytes) -> Iterator[int]:
    for found in _FBX_TEXT.finditer(content):
        # The last corner of a face is written as a negative number.
        yield from (len(face.replace(b",", b" ").split()) + 1 for face in _LAST_CORNER.split(found[1]))
    for found in _FBX_BINARY.finditer(content):
        yield from _array_widths(content, found.end(), *struct.unpack("<3I", found[1]))


def _array_widths(content: bytes, start: int, count: int, encoding: int, length: int) -> Iterator[int]:
    array = content[start : start + (length if encoding else 4 * count)]
    if encoding:
        try:
            array = zlib.decompressobj().decompress(array, min(4 * count, LARGEST_ARRAY) or 1)
        except zlib.error as error:
            raise Refused("The FBX file is damaged: the corners of its faces cannot be unpacked.") from error
    begin = 0
    for place, (corner,) in enumerate(struct.iter_unpack("<i", array[: len(array) // 4 * 4]), 1):
        if corner < 0:
            yield place - begin
            begin = place
