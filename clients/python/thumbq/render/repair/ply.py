"""PLY: whether all of its points are there, and points far from the origin moved nearer to it."""

import math
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import IO

from thumbq.render.files.companions import Companions
from thumbq.render.files.refusal import Refused
from thumbq.render.repair.faces.ply_faces import MOST_CHECKED, Property, check_faces
from thumbq.render.repair.shift import SAMPLE, Point, shift_of

LONGEST_HEADER = 1 << 20
_CODES = {
    "char": "b", "int8": "b", "uchar": "B", "uint8": "B", "short": "h", "int16": "h", "ushort": "H", "uint16": "H",
    "int": "i", "int32": "i", "uint": "I", "uint32": "I", "float": "f", "float32": "f", "double": "d", "float64": "d",
}  # fmt: skip
_ELEMENT = re.compile(r"element\s+(\S+)\s+(\d+)$")
_END = re.compile(rb"^end_header[ \t]*(\r\n|\n|\r)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class _Element:
    """One kind of row."""

    name: str
    count: int
    properties: list[Property]

    @property
    def names(self) -> list[str]:
        return [part.name for part in self.properties]

    @property
    def is_of_points(self) -> bool:
        return {"x", "y", "z"} <= set(self.names) and not any(part.count for part in self.properties)


@dataclass(frozen=True, slots=True)
class _Header:
    """What the header says; `row` unpacks one point of a binary file."""

    content: bytes
    order: str | None
    points: int
    others: int
    faces: _Element | None
    axes: tuple[int, int, int]
    row: struct.Struct


def repair(raw: Path, path: Path, _companions: Companions, _most: int) -> None:
    """Write the points nearer to the origin when they are far away; raises Refused when some are missing."""
    header = _read_header(raw)
    if header is None:
        raw.rename(path)
        return
    _check_size(header, raw.stat().st_size)
    if header.faces and header.faces.count <= MOST_CHECKED:
        with raw.open("rb") as file:
            _skip_points(file, header)
            check_faces(file, header.order, header.faces.count, header.faces.properties, header.points)
    step = max(1, header.points // SAMPLE)
    sample = (_place(row, header) for row in islice(_rows(raw, header), 0, None, step))
    shift = shift_of(point for point in sample if all(map(math.isfinite, point)))
    if not any(shift):
        raw.rename(path)
        return
    with raw.open("rb") as source, path.open("wb") as target:
        written = _with_doubles(header)
        target.write(written.content)
        for row in _rows(raw, header):
            for axis, away in zip(header.axes, shift, strict=True):
                row[axis] = float(row[axis]) - away
            target.write(_packed(row, written))
        _skip_points(source, header)
        while chunk := source.read(1 << 20):
            target.write(chunk)
    raw.unlink()


def _read_header(raw: Path) -> _Header | None:
    """Return the header; None when the points are stored in a way that nothing but the reader needs to know."""
    with raw.open("rb") as file:
        head = file.read(LONGEST_HEADER)
    if not (end := _END.search(head)):
        raise Refused("The PLY file is incomplete: it ends within its header.")
    text = head[: end.end()].decode("latin-1")
    orders = {"binary_little_endian": "<", "binary_big_endian": ">"}
    order = next((orders[word] for word in text.split()[:4] if word in orders), None)
    elements = _elements(text)
    if not any(element.name == "vertex" for element in elements):
        raise Refused("The PLY file has no points.")
    if elements[0].name != "vertex" or not elements[0].is_of_points:
        return None
    first = elements[0]
    axes = (first.names.index("x"), first.names.index("y"), first.names.index("z"))
    others = sum(element.count for element in elements[1:])
    faces = elements[1] if len(elements) > 1 and elements[1].name == "face" else None
    row = struct.Struct((order or "<") + "".join(part.code for part in first.properties))
    return _Header(head[: end.end()], order, first.count, others, faces, axes, row)


def _elements(text: str) -> list[_Element]:
    elements: list[_Element] = []
    for line in text.splitlines():
        words = line.split()
        if found := _ELEMENT.match(line.strip()):
            elements.append(_Element(found[1], int(found[2]), []))
        elif words[:1] == ["property"] and elements:
            elements[-1].properties.append(_property(words))
    return elements


def _property(words: list[str]) -> Property:
    try:
        if words[1] == "list":
            return Property(words[4], _CODES[words[3]], _CODES[words[2]])
        return Property(words[2], _CODES[words[1]])
    except (IndexError, KeyError) as error:
        raise Refused(f"The PLY file has a property that is not read: {' '.join(words)[:60]}.") from error


def _check_size(header: _Header, size: int) -> None:
    """Refuse a file that is shorter than what its header says, before memory is set aside for it."""
    width = header.row.size if header.order else 2 * len(header.row.format) - 2
    there = (size - len(header.content) + (0 if header.order else 1)) // max(1, width)
    if there < header.points:
        raise Refused(f"The PLY file is incomplete: {there} of {header.points} points.")
    # The shortest element is one byte.
    left = size - len(header.content) - header.points * width
    if header.others > left + 1:
        raise Refused(f"The PLY file is incomplete: {max(0, left)} bytes for {header.others} faces.")


def _rows(raw: Path, header: _Header) -> Iterator[list[float]]:
    with raw.open("rb") as file:
        file.seek(len(header.content))
        for number in range(header.points):
            if header.order:
                yield list(header.row.unpack(file.read(header.row.size)))
            else:
                yield _numbers(file.readline(1 << 16), number, len(header.row.format) - 1)


def _numbers(line: bytes, number: int, count: int) -> list[float]:
    try:
        values = [float(word) for word in line.split()[:count]]
    except ValueError:
        values = []
    if len(values) < count:
        raise Refused(f"The PLY file is damaged or incomplete: point {number + 1} is not {count} numbers.")
    return values


def _place(row: list[float], header: _Header) -> Point:
    x, y, z = (float(row[axis]) for axis in header.axes)
    return x, y, z


def _with_doubles(header: _Header) -> _Header:
    """Return the header of the moved points: where axes are whole numbers, they become doubles."""
    codes = list(header.row.format)
    lines = header.content.decode("latin-1").splitlines(keepends=True)
    first = next(place for place, line in enumerate(lines) if _ELEMENT.match(line.strip()))
    properties = [place for place, line in enumerate(lines) if place > first and line.split()[:1] == ["property"]]
    for axis in header.axes:
        if codes[axis + 1] not in "fd":
            codes[axis + 1] = "d"
            line = lines[properties[axis]]
            lines[properties[axis]] = re.sub(r"^(\s*property\s+)\S+", r"\1double", line)
    return replace(header, content="".join(lines).encode("latin-1"), row=struct.Struct("".join(codes)))


def _packed(row: list[float], header: _Header) -> bytes:
    if header.order:
        return header.row.pack(*row)
    return b" ".join(b"%.9g" % value for value in row) + b"\n"


def _skip_points(source: IO[bytes], header: _Header) -> None:
    source.seek(len(header.content))
    if header.order:
        source.seek(header.points * header.row.size, 1)
        return
    for _ in range(header.points):
        source.readline(1 << 16)
