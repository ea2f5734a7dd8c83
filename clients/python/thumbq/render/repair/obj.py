"""OBJ: points and faces are rewritten in the one spelling that the renderer reads without mistakes.

Indices become plain numbers from 1, corners of a face all have the same parts, materials get names of our own.
"""

import math
import re
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import IO

from thumbq.render.intake.companions import Companions
from thumbq.render.intake.refusal import Refused
from thumbq.render.repair.lines import lines
from thumbq.render.repair.materials import Materials
from thumbq.render.repair.polygons import simple_polygons
from thumbq.render.repair.shift import SAMPLE, Point, shift_of

_WORD = re.compile(rb"[ \t]*(v|vt|vn|mtllib)[ \t]", re.IGNORECASE)
# Corner, texture coordinate, normal; zero where a corner has none.
Corner = tuple[int, int, int]


def repair(raw: Path, path: Path, companions: Companions, _most: int) -> None:
    """Write the model of `raw` to `path`; raises Refused when no face of it can be drawn."""
    counts, shift, libraries = _survey(raw)
    materials = Materials(path.with_name("model.mtl"), companions, libraries)
    with path.open("wb") as file:
        if materials.are_there:
            file.write(b"mtllib model.mtl\n")
        writer = _Writer(file, counts, shift, materials)
        for number, line in lines(raw):
            writer.write(number, line)
    raw.unlink()
    if writer.first_bad and not writer.drawn:
        raise Refused(f"Line {writer.first_bad} of the OBJ file {writer.complaint}.")
    if writer.first_bad:
        left_out = "1 face or line is" if writer.bad == 1 else f"{writer.bad} faces and lines are"
        companions.remarks.append(f"{left_out} left out: line {writer.first_bad} {writer.complaint}.")
    if not writer.drawn:
        raise Refused("The OBJ file has nothing to see in it.")


def _survey(raw: Path) -> tuple[dict[bytes, int], Point, list[str]]:
    """How many of each kind of point there are, where the model lies, and its material libraries."""
    counts = {b"v": 0, b"vt": 0, b"vn": 0}
    libraries: list[str] = []
    for _, line in lines(raw):
        if not (found := _WORD.match(line)):
            continue
        word = found[1].lower()
        if word == b"mtllib":
            libraries.append(line[found.end() :].decode(errors="replace").strip())
        else:
            counts[word] += 1
    # Points are taken from all of the file, because its beginning may be one part of many.
    step = max(1, counts[b"v"] // SAMPLE)
    points = islice(_points(raw), 0, None, step)
    return counts, shift_of(point for point in points if all(map(math.isfinite, point))), libraries


def _points(raw: Path) -> Iterator[Point]:
    for _, line in lines(raw):
        if line[:1] in b"vV" and line[1:2] in b" \t":
            x, y, z, *_ = *_numbers(line.split()[1:4]), 0.0, 0.0, 0.0
            yield x, y, z


class _Writer:
    """Writes line by line, and remembers what could not be written."""

    def __init__(self, file: IO[bytes], counts: dict[bytes, int], shift: Point, materials: Materials) -> None:
        self._file = file
        self._totals = (counts[b"v"], counts[b"vt"], counts[b"vn"])
        self._shift = shift if any(shift) else None
        self._materials = materials
        self._seen = [0, 0, 0]
        self._unusable: set[int] = set()
        self._verbs = {
            b"v": self._point,
            b"vt": self._texture_point,
            b"vn": self._normal,
            b"f": self._face,
            b"fo": self._face,
            b"l": self._line,
            b"p": self._line,
            b"usemtl": self._material,
        }
        self.drawn = self.bad = self.first_bad = 0
        self.complaint = ""

    def write(self, number: int, line: bytes) -> None:
        """Write one line of the model in our spelling, unless it says nothing that is drawn."""
        word, *values = line.split()
        verb = self._verbs.get(word) or self._verbs.get(word.lower())
        if verb is None:
            return
        try:
            verb(word.lower(), values)
        except ValueError as error:
            self.bad += 1
            self.first_bad = self.first_bad or number
            self.complaint = self.complaint or str(error)

    def _point(self, _word: bytes, values: list[bytes]) -> None:
        self._seen[0] += 1
        numbers = _numbers(values)
        if len(numbers) < 3 or not all(map(math.isfinite, numbers)):
            self._unusable.add(self._seen[0])
            numbers = [0.0, 0.0, 0.0]
        elif self._shift:
            numbers[:3] = [value - away for value, away in zip(numbers, self._shift, strict=False)]
        elif len(values) in {3, 6} and b"," not in values[0]:
            self._file.write(b"v %b\n" % b" ".join(values))
            return
        self._file.write(b"v %b\n" % b" ".join(b"%.9g" % number for number in numbers))

    def _texture_point(self, _word: bytes, values: list[bytes]) -> None:
        self._seen[1] += 1
        numbers = [*_numbers(values), 0.0, 0.0][:2]
        self._file.write(b"vt %.9g %.9g\n" % tuple(value if math.isfinite(value) else 0.0 for value in numbers))

    def _normal(self, _word: bytes, values: list[bytes]) -> None:
        self._seen[2] += 1
        numbers = [*_numbers(values), 0.0, 0.0, 0.0][:3]
        if not all(map(math.isfinite, numbers)):
            numbers = [0.0, 0.0, 1.0]
        self._file.write(b"vn %.6g %.6g %.6g\n" % tuple(numbers))

    def _face(self, _word: bytes, values: list[bytes]) -> None:
        corners = [self._corner(value) for value in values]
        if len(corners) < 3:
            raise ValueError("has a face of fewer than three corners")
        for polygon in simple_polygons(corners):
            self._file.write(b"f %b\n" % _spelled(polygon))
        self.drawn += 1

    def _line(self, word: bytes, values: list[bytes]) -> None:
        points = [b"%d" % self._corner(value)[0] for value in values]
        if len(points) < (2 if word == b"l" else 1):
            raise ValueError("has a line of one point")
        self._file.write(b"%b %b\n" % (word, b" ".join(points)))
        self.drawn += 1

    def _material(self, _word: bytes, values: list[bytes]) -> None:
        if self._materials.are_there:
            name = b" ".join(values).decode(errors="replace")
            self._file.write(b"usemtl %b\n" % self._materials.name(name).encode())

    def _corner(self, value: bytes) -> Corner:
        """The three indices of a corner as plain numbers; raises ValueError when its point is not there."""
        parts = [*value.split(b"/"), b"", b""]
        point = self._index(parts[0], 0)
        if not point:
            raise ValueError(f"names point {_shown(parts[0])}, but the file has {self._totals[0]}")
        if point in self._unusable:
            raise ValueError(f"names point {point}, whose coordinates are not three numbers")
        return point, self._index(parts[1], 1), self._index(parts[2], 2)

    def _index(self, text: bytes, kind: int) -> int:
        try:
            index = int(text) if text else 0
        except ValueError:
            return 0
        if index < 0:
            # Counted back from the last one so far.
            index += self._seen[kind] + 1
        return index if 0 < index <= self._totals[kind] else 0


def _spelled(corners: Sequence[Corner]) -> bytes:
    """A face whose corners all have the same parts."""
    with_texture = all(corner[1] for corner in corners)
    with_normal = all(corner[2] for corner in corners)
    if with_texture and with_normal:
        return b" ".join(b"%d/%d/%d" % corner for corner in corners)
    if with_texture:
        return b" ".join(b"%d/%d" % corner[:2] for corner in corners)
    if with_normal:
        return b" ".join(b"%d//%d" % (corner[0], corner[2]) for corner in corners)
    return b" ".join(b"%d" % corner[0] for corner in corners)


def _numbers(values: Sequence[bytes]) -> list[float]:
    """The values as numbers, with a comma for the point if need be; other text becomes NaN."""
    numbers = []
    for value in values:
        try:
            numbers.append(float(value))
        except ValueError:
            try:
                numbers.append(float(value.replace(b",", b".")))
            except ValueError:
                numbers.append(math.nan)
    return numbers


def _shown(text: bytes) -> str:
    return text[:20].decode("ascii", errors="replace") or "nothing"
