"""STL: whatever its spelling, it becomes a binary file of exactly the triangles that it holds."""

import math
import re
import struct
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from thumbq.render.files.companions import Companions
from thumbq.render.files.refusal import Refused
from thumbq.render.repair.shift import SAMPLE, Point, shift_of

HEADER, TRIANGLE = 84, 50
BLOCK = 1 << 20
# In more triangles than this, those that cannot be seen are left to the renderer: to look at each takes too long.
MOST_SIFTED = 2_000_000

_VERTEX = re.compile(rb"\bvertex\s+(\S+)\s+(\S+)\s+(\S+)")
_ASCII = re.compile(rb"\s*(?:solid|facet)\b")
_CLOSED = re.compile(rb"\bend[ _-]?(?:solid|file)\b")

Triangle = tuple[Point, Point, Point]


def repair(raw: Path, path: Path, _companions: Companions, _most: int) -> None:
    """Write the triangles of `raw` to `path`; raises Refused when some are missing."""
    with raw.open("rb") as file:
        head = file.read(4096)
    if _is_ascii(head):
        _repair_ascii(raw, path)
    else:
        _repair_binary(raw, path, head)
    raw.unlink()


def _is_ascii(head: bytes) -> bool:
    text = head.removeprefix(b"\xef\xbb\xbf").lower()
    # A binary file may begin with "solid", too, but then no corner follows in words.
    return _ASCII.match(text) is not None and (_VERTEX.search(text) is not None or b"\0" not in text)


def _repair_ascii(raw: Path, path: Path) -> None:
    sample = [point for triangle in islice(_ascii_triangles(raw), SAMPLE // 3) for point in triangle]
    shift = shift_of(point for point in sample if _is_finite(point))
    _write(path, _ascii_triangles(raw), shift)


def _ascii_triangles(raw: Path) -> Iterator[Triangle]:
    """Every three corners, whatever the words around them are; raises Refused when the file is cut off."""
    corners: list[Point] = []
    count = 0
    size = raw.stat().st_size
    with raw.open("rb") as file:
        rest = tail = b""
        while block := file.read(BLOCK):
            text = (rest + block).lower()
            # A block may end within a corner, so its last one waits for the next block.
            end = text.rfind(b"vertex") if file.tell() < size else len(text)
            for found in _VERTEX.finditer(text, 0, end):
                corners.append(_point(found, count))
                if len(corners) == 3:
                    a, b, c = corners
                    yield a, b, c
                    count += 1
                    corners.clear()
            rest = text[end:] if end >= 0 else text[-BLOCK:]
            tail = text[-1000:]
    if corners:
        raise Refused(f"The STL file is incomplete: it is cut off in triangle {count + 1}.")
    if not _CLOSED.search(tail[tail.rfind(b"vertex") + 1 :]):
        raise Refused(f"The STL file is incomplete: its closing line is missing, after triangle {count}.")


def _point(found: re.Match[bytes], count: int) -> Point:
    try:
        x, y, z = (float(number) for number in found.groups())
    except ValueError:
        try:
            # Commas as some locales write them, exponents as Fortran does.
            x, y, z = (float(number.replace(b",", b".").replace(b"d", b"e")) for number in found.groups())
        except ValueError as error:
            raise Refused(f"Triangle {count + 1} of the STL file has a corner that is not three numbers.") from error
    return x, y, z


def _repair_binary(raw: Path, path: Path, head: bytes) -> None:
    size = raw.stat().st_size
    if size < HEADER:
        raise Refused("The STL file is incomplete: it ends within its header.")
    count: int = struct.unpack_from("<I", head, HEADER - 4)[0]
    there = (size - HEADER) // TRIANGLE
    if not count and size - HEADER == there * TRIANGLE:
        # Its writer did not come back to fill in the count.
        count = there
    if there < count:
        raise Refused(f"The STL file is incomplete: {there} of {count} triangles.")
    sample = [point for triangle in _binary_triangles(raw, min(count, SAMPLE // 3)) for point in triangle]
    shift = shift_of(point for point in sample if _is_finite(point))
    if count <= MOST_SIFTED or any(shift):
        _write(path, _binary_triangles(raw, count), shift)
    else:
        raw.replace(path)
        with path.open("r+b") as file:
            # A header that begins with "solid" would pass for text.
            file.write(bytes(HEADER - 4))
            file.truncate(HEADER + count * TRIANGLE)


def _binary_triangles(raw: Path, count: int) -> Iterator[Triangle]:
    with raw.open("rb") as file:
        file.seek(HEADER)
        while count > 0 and (block := file.read(min(count, 20_000) * TRIANGLE)):
            count -= len(block) // TRIANGLE
            for row in struct.iter_unpack("<12x9f2x", block):
                yield row[:3], row[3:6], row[6:]


def _write(path: Path, triangles: Iterator[Triangle], shift: Point) -> None:
    """Write a binary file of the triangles that can be seen, moved by `shift`."""
    moved = any(shift)
    pack = struct.Struct("<12x9f2x").pack
    count = 0
    with path.open("wb") as file:
        file.write(bytes(HEADER))
        for triangle in triangles:
            if not _is_seen(triangle):
                continue
            a, b, c = (_moved(point, shift) for point in triangle) if moved else triangle
            file.write(pack(*a, *b, *c))
            count += 1
        file.seek(HEADER - 4)
        file.write(struct.pack("<I", count))
    if not count:
        raise Refused("The STL file has nothing to see in it.")


def _is_seen(triangle: Triangle) -> bool:
    return len(set(triangle)) == 3 and all(map(_is_finite, triangle))


def _moved(point: Point, shift: Point) -> Point:
    return point[0] - shift[0], point[1] - shift[1], point[2] - shift[2]


def _is_finite(point: Point) -> bool:
    return math.isfinite(point[0] + point[1] + point[2])
