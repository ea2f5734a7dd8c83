"""Point clouds of surveys, LAS and PTS: whether every point is there, and the whole moved near to the origin."""

import math
import struct
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from thumbq.render.files.companions import Companions
from thumbq.render.files.refusal import Refused
from thumbq.render.repair.lines import lines
from thumbq.render.repair.shift import SAMPLE, Point, shift_of

# Places in a LAS header: data offset, kind and length of a record, counts, offsets of the axes, and their ranges.
_DATA, _KIND, _LENGTH, _COUNT, _LONG_COUNT, _OFFSETS, _RANGES = 96, 104, 105, 107, 247, 155, 179
_LAS_HEADER = 227


def repair_las(raw: Path, path: Path, _companions: Companions, _most: int) -> None:
    """Move a LAS or LAZ file by the offsets in its header; raises Refused when points are missing."""
    size = raw.stat().st_size
    with raw.open("r+b") as file:
        header = bytearray(file.read(400))
        if len(header) < _LAS_HEADER:
            raise Refused("The LAS file is incomplete: it ends within its header.")
        _check_points(header, size)
        ranges = struct.unpack_from("<6d", header, _RANGES)
        offsets = struct.unpack_from("<3d", header, _OFFSETS)
        if all(map(math.isfinite, (*ranges, *offsets))):
            middle = [(ranges[axis] + ranges[axis + 1]) / 2 for axis in (0, 2, 4)]
            moved = [value - middle[number // 2] for number, value in enumerate(ranges)]
            places = [offset - away for offset, away in zip(offsets, middle, strict=True)]
            file.seek(_OFFSETS)
            file.write(struct.pack("<9d", *places, *moved))
    raw.rename(path)


def _check_points(header: bytearray, size: int) -> None:
    (start,) = struct.unpack_from("<I", header, _DATA)
    (length,) = struct.unpack_from("<H", header, _LENGTH)
    (count,) = struct.unpack_from("<I", header, _COUNT)
    if header[25] >= 4 and len(header) >= _LONG_COUNT + 8:
        count = count or struct.unpack_from("<Q", header, _LONG_COUNT)[0]
    # A compressed point has no certain length, but it is never smaller than an eighth of a byte.
    there = (size - start) // length if length and not header[_KIND] & 0x80 else 8 * size
    if there < count:
        raise Refused(f"The LAS file is incomplete: {max(0, there)} of {count} points.")


def repair_pts(raw: Path, path: Path, _companions: Companions, _most: int) -> None:
    """Write the points of a PTS file nearer to the origin; raises Refused when points are missing."""
    count = sum(1 for _ in _rows(raw))
    said = next((int(line) for _, line in islice(lines(raw), 1) if line.isdigit()), count)
    if count < said:
        raise Refused(f"The PTS file is incomplete: {count} of {said} points.")
    shift = shift_of(_place(row) for row in islice(_rows(raw), 0, None, max(1, count // SAMPLE)))
    with path.open("wb") as file:
        file.write(b"%d\n" % count)
        for row in _rows(raw):
            place = [value - away for value, away in zip(_place(row), shift, strict=True)]
            file.write(b"%.9g %.9g %.9g " % tuple(place) + b" ".join(row[3:7]) + b"\n")
    raw.unlink()


def _rows(raw: Path) -> Iterator[list[bytes]]:
    for number, line in lines(raw):
        words = line.split()
        if len(words) < 3:
            continue
        try:
            place = _place(words)
        except ValueError as error:
            raise Refused(f"Line {number} of the PTS file does not begin with three numbers.") from error
        if all(map(math.isfinite, place)):
            yield words


def _place(words: list[bytes]) -> Point:
    x, y, z = (float(word) for word in words[:3])
    return x, y, z
