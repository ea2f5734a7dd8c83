"""Faces of very many corners are cut into triangles in bounded time, or refused with a sentence, in every format."""

import cmath
import math
import struct
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from tests.render.hostile import models as hostile
from thumbq.render.child import RenderFailed
from thumbq.render.files.refusal import Refused
from thumbq.render.intake.model import Intake, Model
from thumbq.render.repair.faces.polygons import MOST_LOOKS, triangles_of
from thumbq.render.repair.faces.width import MOST_WORK, check_widths

TOO_MANY = 33_000


def _points(count: int) -> list[str]:
    return [f"{place.real:.4f} 0 {place.imag:.4f}" for place in _star(count)]


def _star(count: int) -> list[complex]:
    """It is not convex: a fan of triangles would fill its dents."""
    return [cmath.rect(1.0 if number % 2 else 0.3, math.tau * number / count) for number in range(count)]


def _numbers(count: int, between: str = " ") -> str:
    return between.join(map(str, range(count)))


def _ply(count: int) -> bytes:
    points = "\n".join(_points(count))
    return f"{_ply_header('ascii', count)}{points}\n{count} {_numbers(count)}\n".encode()


def _ply_binary(count: int) -> bytes:
    points = b"".join(struct.pack("<3f", place.real, 0, place.imag) for place in _star(count))
    face = struct.pack(f"<{count + 1}i", count, *range(count))
    return _ply_header("binary_little_endian", count).encode() + points + face


def _ply_header(encoding: str, count: int) -> str:
    axes = "".join(f"property float {axis}\n" for axis in "xyz")
    faces = "element face 1\nproperty list int int vertex_indices\n"
    return f"ply\nformat {encoding} 1.0\nelement vertex {count}\n{axes}{faces}end_header\n"


def _dae(count: int, faces: str) -> bytes:
    content = hostile.dae("own.png").decode()
    start, end = content.index("<triangles"), content.index("</triangles>") + len("</triangles>")
    return (content[:start] + faces + content[end:]).encode()


_DAE_INPUTS = '<input semantic="VERTEX" source="#v" offset="0"/><input semantic="TEXCOORD" source="#u" offset="1"/>'


def _polylist(count: int) -> bytes:
    corners = "0 0 " * count
    return _dae(count, f'<polylist count="1">{_DAE_INPUTS}<vcount>{count}</vcount><p>{corners}</p></polylist>')


def _polygons(count: int) -> bytes:
    return _dae(count, f'<polygons count="1">{_DAE_INPUTS}<p>{"0 0 " * count}</p></polygons>')


def _directx(count: int) -> bytes:
    points = ",\n".join(point.replace(" ", ";") + ";" for point in _points(count))
    # The list of materials looks like a face of as many corners as the model has faces.
    materials = f"MeshMaterialList {{ 1; {TOO_MANY}; {','.join('0' * TOO_MANY)};; }}"
    face = f"{count};{_numbers(count, ',')};"
    return f"xof 0303txt 0032\nMesh m {{\n{count};\n{points};\n1;\n{face};\n{materials} }}".encode()


def _fbx_text(count: int) -> bytes:
    last = f"{_numbers(count - 1, ',')},{-count}"
    return f"; FBX 7.4.0 project file\nPolygonVertexIndex: *{count} {{\na: {last}\n}}\n".encode()


def _fbx_binary(count: int, *, packed: bool = False) -> bytes:
    array = struct.pack(f"<{count}i", *range(count - 1), -count)
    array = zlib.compress(array) if packed else array
    header = b"Kaydara FBX Binary  \0\x1a\0" + struct.pack("<I", 7400)
    return header + b"PolygonVertexIndexi" + struct.pack("<3I", count, packed, len(array)) + array


def _fbx_packed(count: int) -> bytes:
    return _fbx_binary(count, packed=True)


def _vrml(count: int) -> bytes:
    shape = f"coord Coordinate {{ point [ {', '.join(_points(count))} ] }} coordIndex [ {_numbers(count, ', ')}, -1 ]"
    return f"#VRML V2.0 utf8\nShape {{ geometry IndexedFaceSet {{ {shape} }} }}\n".encode()


_WRITERS = [
    ("a.ply", "PLY", _ply),
    ("a.ply", "PLY", _ply_binary),
    ("a.dae", "COLLADA", _polylist),
    ("a.dae", "COLLADA", _polygons),
    ("a.x", "DirectX", _directx),
    ("a.fbx", "FBX", _fbx_text),
    ("a.fbx", "FBX", _fbx_binary),
    ("a.fbx", "FBX", _fbx_packed),
    ("a.wrl", "VRML", _vrml),
]


@pytest.mark.parametrize(("name", "word", "write"), _WRITERS)
async def test_a_face_that_takes_too_long_to_cut_is_refused(
    tmp_path: Path, intake: Intake, name: str, word: str, write: Callable[[int], bytes]
):
    (tmp_path / name).write_bytes(write(TOO_MANY))
    with pytest.raises(RenderFailed) as refusal:
        await intake.take_file(tmp_path / name)
    wide = f"a face of {TOO_MANY} corners, which takes too long to cut into triangles."
    assert str(refusal.value) == f"The {word} file has {wide}"
    assert not refusal.value.retryable


@pytest.mark.parametrize(("name", "word", "write"), _WRITERS)
async def test_a_face_of_many_corners_is_taken(
    tmp_path: Path, intake: Intake, name: str, word: str, write: Callable[[int], bytes]
):
    (tmp_path / name).write_bytes(write(2_000))
    assert (await intake.take_file(tmp_path / name)).format == name[2:]


def test_very_many_wide_faces_count_together():
    check_widths("PLY", [64] * 1_000_000 + [1_000] * (MOST_WORK // 1_000_000))
    with pytest.raises(Refused, match=r"^The PLY file has 1001 faces of up to 1000 corners, which take too long to"):
        check_widths("PLY", [1_000] * (MOST_WORK // 1_000_000 + 1))


@pytest.mark.parametrize("count", [10, 200])
async def test_an_off_face_that_the_reader_would_leave_out_is_cut_and_keeps_its_shape(
    tmp_path: Path, intake: Intake, count: int
):
    points = "\n".join(_points(count))
    (tmp_path / "a.off").write_text(f"OFF\n{count} 2 0\n{points}\n3 0 1 2\n{count} {_numbers(count)} 0.5 0.5 0.5\n")
    model = await intake.take_file(tmp_path / "a.off")
    head, counts, *rows = model.path.read_text().splitlines()
    assert (head, counts) == ("OFF", f"{count} {count - 1} 0")
    assert rows[count] == "3 0 1 2"
    _assert_covers(count, [[int(word) for word in row.split()[1:]] for row in rows[count + 1 :]])


@pytest.mark.parametrize(
    "content", ["OFF\n3 1 0\n0 0 0\n1 0 0\n0 1 0\n3 0 1 2\n", "OFF\n1 1 0\n0 0 0\n12 0\n", "OFF\nx\n"]
)
async def test_an_off_without_such_faces_stays_as_it_is(tmp_path: Path, intake: Intake, content: str):
    (tmp_path / "a.off").write_text(content)
    assert (await intake.take_file(tmp_path / "a.off")).path.read_text() == content


async def test_an_obj_face_of_very_many_corners_keeps_its_shape(tmp_path: Path, intake: Intake):
    points = "".join(f"v {point}\n" for point in _points(200))
    (tmp_path / "a.obj").write_text(f"{points}f {' '.join(map(str, range(1, 201)))}\n")
    _assert_covers(
        200, [[corner - 1 for corner in face] for face in _faces(await intake.take_file(tmp_path / "a.obj"))]
    )


async def test_an_obj_face_that_overlaps_itself_is_cut_whole(tmp_path: Path, intake: Intake):
    """The renderer would take a quarter of a minute for this one, and hours for a larger one."""
    corners = " ".join(str(1 + (7 * number) % 50) for number in range(6000))
    points = "".join(f"v {number * number % 97} {number * 31 % 89} 0\n" for number in range(50))
    (tmp_path / "a.obj").write_text(f"{points}f {corners}\n")
    assert len(_faces(await intake.take_file(tmp_path / "a.obj"))) == 5998


def test_cutting_ends_after_a_number_of_looks():
    tangled = [(float(number * number % 97), float(number * 31 % 89), 0.0) for number in range(6000)]
    triangles, looks = triangles_of(tangled, 100_000)
    assert len(triangles) == 5998
    assert looks < 100_000 + len(tangled) < MOST_LOOKS


def test_cutting_without_looks_left_makes_a_fan():
    square = [(0.0, 0.0, 0.0), (1.0, 0.0, 0.0), (1.0, 1.0, 0.0), (0.0, 1.0, 0.0)]
    assert triangles_of(square, 0) == ([(0, 1, 2), (0, 2, 3)], 0)


def _faces(model: Model) -> list[list[int]]:
    lines = model.path.read_text().splitlines()
    return [[int(corner) for corner in line.split()[1:]] for line in lines if line.startswith("f ")]


def _assert_covers(count: int, triangles: Sequence[Sequence[int]]) -> None:
    """Assert that triangles have the area of the star that they were cut from."""
    star = _star(count)
    assert all(len(triangle) == 3 for triangle in triangles)
    areas = [_area([star[corner] for corner in triangle]) for triangle in triangles]
    assert sum(areas) == pytest.approx(_area(star), rel=1e-3)


def _area(corners: Sequence[complex]) -> float:
    pairs = zip(corners, [*corners[1:], corners[0]], strict=True)
    return abs(sum((a.conjugate() * b).imag for a, b in pairs)) / 2
