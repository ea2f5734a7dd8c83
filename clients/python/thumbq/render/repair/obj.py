"""OBJ: points and faces are rewritten in the one spelling that the renderer reads without mistakes.

Indices become plain numbers from 1, corners of a face all have the same parts, materials get names of our own.
"""

import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from thumbq.render.files.companions import Companions
from thumbq.render.files.refusal import Refused
from thumbq.render.repair.faces.polygons import MOST_CORNERS, Places
from thumbq.render.repair.materials import Materials
from thumbq.render.repair.obj_runs import Run, runs
from thumbq.render.repair.shift import SAMPLE, Point, shift_of

_WORD = re.compile(rb"[ \t]*(v|vt|vn|mtllib)[ \t]", re.IGNORECASE)
_INDEX = re.compile(rb"\d+")
# The kinds of runs: which points they define, or which kinds of points their faces name.
_POINTS = {"v": 0, "vt": 1, "vn": 2}
_FACES = {"f1": (0,), "f2": (0, 1), "f3": (0, 1, 2), "fn": (0, 2)}
# Corner, texture coordinate, normal; zero where a corner has none.
Corner = tuple[int, int, int]


def repair(raw: Path, path: Path, companions: Companions, _most: int) -> None:
    """Write the model of `raw` to `path`; raises Refused when no face of it can be drawn."""
    counts, shift, libraries, has_wide_faces = _survey(raw)
    materials = Materials(path.with_name("model.mtl"), companions, libraries)
    with path.open("wb") as file:
        if materials.are_there:
            file.write(b"mtllib model.mtl\n")
        writer = _Writer(file, counts, shift, materials, Places(needed=has_wide_faces))
        for run in runs(raw):
            writer.write(run)
    raw.unlink()
    if writer.first_bad and not writer.drawn:
        raise Refused(f"Line {writer.first_bad} of the OBJ file {writer.complaint}.")
    if writer.first_bad:
        left_out = "1 face or line is" if writer.bad == 1 else f"{writer.bad} faces and lines are"
        companions.remarks.append(f"{left_out} left out: line {writer.first_bad} {writer.complaint}.")
    if not writer.drawn:
        raise Refused("The OBJ file has nothing to see in it.")


def _survey(raw: Path) -> tuple[dict[str, int], Point, list[str], bool]:
    """How many of each kind of point there are, where the model lies, its material libraries, and large faces."""
    has_wide_faces = False
    counts = {"v": 0, "vt": 0, "vn": 0}
    libraries: list[str] = []
    points: list[Point] = []
    for run in runs(raw):
        if run.kind in counts:
            counts[run.kind] += run.text.count(b"\n")
            # Points are taken from all of the file, because its beginning may be one part of many.
            points += [_point(line) for line in run.text.split(b"\n", 8)[:8] if run.kind == "v" and line]
        elif not run.kind and run.text[:1] in b"fF":
            has_wide_faces = has_wide_faces or len(run.text.split()) > MOST_CORNERS
        elif not run.kind and (found := _WORD.match(run.text)):
            word = found[1].lower().decode()
            if word == "mtllib":
                libraries.append(run.text[found.end() :].decode(errors="replace").strip())
                continue
            counts[word] += 1
            if word == "v":
                points.append(_point(run.text))
    step = max(1, len(points) // SAMPLE)
    finite = [point for point in points[::step] if all(map(math.isfinite, point))]
    return counts, shift_of(finite), libraries, has_wide_faces


def _point(line: bytes) -> Point:
    x, y, z, *_ = *_numbers(line.split()[1:4]), math.nan, math.nan, math.nan
    return x, y, z


class _Writer:
    """Writes line by line, and remembers what could not be written."""

    def __init__(
        self, file: IO[bytes], counts: dict[str, int], shift: Point, materials: Materials, places: Places
    ) -> None:
        self._file = file
        self._places = places
        self._totals = (counts["v"], counts["vt"], counts["vn"])
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

    def write(self, run: Run) -> None:
        """Write lines of the model in our spelling, unless they say nothing that is drawn."""
        if not run.kind:
            self._write_line(run.number, run.text)
        elif run.kind in _POINTS and not (run.kind == "v" and self._shift):
            self._seen[_POINTS[run.kind]] += run.text.count(b"\n")
            self._file.write(run.text)
            if run.kind == "v":
                self._places.keep_all(run.text)
        elif run.kind in _FACES and self._are_there(run):
            self._file.write(run.text)
            self.drawn += 1
        else:
            for number, line in enumerate(run.text.splitlines(), run.number):
                self._write_line(number, line)

    def _are_there(self, run: Run) -> bool:
        """Whether all points that the faces of a run name are there."""
        kinds = _FACES[run.kind]
        indices = list(map(int, _INDEX.findall(run.text)))
        parts = [(kind, indices[place :: len(kinds)]) for place, kind in enumerate(kinds)]
        return not self._unusable and all(0 < min(part) <= max(part) <= self._totals[kind] for kind, part in parts)

    def _write_line(self, number: int, line: bytes) -> None:
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
        self._places.keep(numbers)
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
        for polygon in self._places.simple_polygons(corners):
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
        """Return the three indices of a corner as plain numbers; raises ValueError when its point is not there."""
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
    """Return a face as text. All its corners have the same parts."""
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
    """Return the values as numbers, with a comma for the point if need be; other text becomes NaN."""
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
