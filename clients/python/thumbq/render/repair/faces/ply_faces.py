"""The faces of a PLY file: the reader takes every index on trust, and dies of one that names no point."""

import struct
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import IO

from thumbq.render.files.refusal import Refused
from thumbq.render.repair.faces.width import check_widths

# To look at more faces than this would take too long; a wrong one then costs a renderer.
MOST_CHECKED = 3_000_000
_INDICES = ("vertex_indices", "vertex_index")


@dataclass(frozen=True, slots=True)
class Property:
    """A number, or with `count` a list of numbers that follow their count; both are codes of `struct`."""

    name: str
    code: str
    count: str = ""


def check_faces(file: IO[bytes], order: str | None, faces: int, properties: Sequence[Property], points: int) -> None:
    """Refuse a file whose faces cannot be drawn; the file stands before the first face."""
    rows = _binary(file, order, faces, properties) if order else _ascii(file, faces, properties)
    check_widths("PLY", (len(indices) for indices in _checked(rows, points)))


def _checked(rows: Iterable[Sequence[int]], points: int) -> Iterator[Sequence[int]]:
    for number, indices in enumerate(rows, 1):
        if indices and not 0 <= min(indices) <= max(indices) < points:
            raise Refused(f"Face {number} of the PLY file names a point that is not there; it has {points}.")
        yield indices


def _binary(file: IO[bytes], order: str, faces: int, properties: Sequence[Property]) -> Iterator[Sequence[int]]:
    counts = [struct.Struct(order + part.count) if part.count else None for part in properties]
    sizes = [struct.calcsize(order + part.code) for part in properties]
    for number in range(1, faces + 1):
        found: Sequence[int] = ()
        for part, count, size in zip(properties, counts, sizes, strict=True):
            length = count.unpack(_read(file, count.size, number))[0] if count else 1
            content = _read(file, max(0, length) * size, number)
            if part.name in _INDICES:
                found = struct.unpack(f"{order}{length}{part.code}", content)
        yield found


def _read(file: IO[bytes], size: int, number: int) -> bytes:
    content = file.read(size)
    if len(content) < size:
        raise Refused(f"The PLY file is incomplete: it ends within face {number}.")
    return content


def _ascii(file: IO[bytes], faces: int, properties: Sequence[Property]) -> Iterator[Sequence[int]]:
    for number in range(1, faces + 1):
        words = iter(file.readline(1 << 20).split())
        found: list[int] = []
        try:
            for part in properties:
                length = int(next(words)) if part.count else 1
                values = [next(words) for _ in range(length)]
                if part.name in _INDICES:
                    found = [int(value) for value in values]
        except (StopIteration, ValueError) as error:
            raise Refused(f"The PLY file is damaged or incomplete: face {number} cannot be read.") from error
        yield found
