"""3DS: whether its chunks lie within each other, and its faces name points and materials that are there.

The reader takes all of this on trust.
"""

import struct
from collections.abc import Iterator
from pathlib import Path

from thumbq.render.files.companions import Companions
from thumbq.render.files.refusal import Refused

_MAIN, _EDITOR, _OBJECT, _MESH, _POINTS, _FACES = 0x4D4D, 0x3D3D, 0x4000, 0x4100, 0x4110, 0x4120
_MATERIAL, _NAME, _PAINTED, _UNKNOWN = 0xAFFF, 0xA000, 0x4130, 0xFFFF
_DAMAGED = "The 3DS file is damaged: a part of it is longer than the whole that it belongs to."


def check(raw: Path, path: Path, _companions: Companions, _most: int) -> None:
    """Write the file to `path` when it can be trusted; raises Refused."""
    content = bytearray(raw.read_bytes())
    kind, size = struct.unpack_from("<HI", content) if len(content) >= 6 else (_MAIN, 6)
    if kind != _MAIN:
        raise Refused("The 3DS file is damaged: it does not begin as one.")
    if len(content) < size:
        raise Refused(f"The 3DS file is incomplete: {len(content)} of {size} bytes.")
    for kind, start, end in _chunks(content, 6, size):
        if kind == _EDITOR:
            materials = _materials(content, start, end)
            for inner, place, stop in _chunks(content, start, end):
                if inner == _OBJECT:
                    _check_object(content, place, stop, materials)
    path.write_bytes(content)
    raw.unlink()


def _materials(content: bytearray, start: int, end: int) -> set[bytes]:
    materials = [(place, stop) for kind, place, stop in _chunks(content, start, end) if kind == _MATERIAL]
    names = [part for place, stop in materials for part in _chunks(content, place, stop) if part[0] == _NAME]
    return {bytes(content[place:stop]).partition(b"\0")[0] for _, place, stop in names}


def _check_object(content: bytearray, start: int, end: int, materials: set[bytes]) -> None:
    name = content.find(b"\0", start, end)
    if name < 0:
        raise Refused(_DAMAGED)
    for kind, place, stop in _chunks(content, name + 1, end):
        if kind == _MESH:
            _check_mesh(content, place, stop, materials)


def _check_mesh(content: bytearray, start: int, end: int, materials: set[bytes]) -> None:
    points, faces = 0, (0, 0)
    for kind, place, stop in _chunks(content, start, end):
        if kind == _POINTS:
            points = _count(content, place, stop, 12)
        elif kind == _FACES:
            faces = (place + 2, _count(content, place, stop, 8))
            _forget_materials(content, faces[0] + 8 * faces[1], stop, materials)
    place, count = faces
    for number, corners in enumerate(struct.iter_unpack("<3H2x", content[place : place + 8 * count]), 1):
        if max(corners) >= points:
            raise Refused(f"Face {number} of a part of the 3DS file names a point that is not there; it has {points}.")


def _forget_materials(content: bytearray, start: int, end: int, materials: set[bytes]) -> None:
    """Turn parts of a mesh that name a missing material into parts that no reader knows."""
    for kind, place, stop in _chunks(content, start, end):
        if kind == _PAINTED and bytes(content[place:stop]).partition(b"\0")[0] not in materials:
            struct.pack_into("<H", content, place - 6, _UNKNOWN)


def _count(content: bytearray, start: int, end: int, size: int) -> int:
    """Return the count at the beginning of a chunk; raises Refused when its data is not all there."""
    count: int = struct.unpack_from("<H", content, start)[0] if end - start >= 2 else 0
    if start + 2 + count * size > end:
        raise Refused(_DAMAGED)
    return count


def _chunks(content: bytearray, start: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Kind, beginning and end of the data of each chunk."""
    while start + 6 <= end:
        kind, size = struct.unpack_from("<HI", content, start)
        if size < 6 or start + size > end:
            raise Refused(_DAMAGED)
        yield kind, start + 6, start + size
        start += size
