"""The sample models: the same bytes every time, small, and of sound geometry."""

import hashlib
import json
import math
import struct
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from thumbq.render.formats import format_of_name
from thumbq.render.intake.detection import format_of_content
from thumbq.render.picture.light import STUDIO, studio
from thumbq.render.samples import CATALOGUE, CORRUPT, Sample, figures, files, things, write_samples
from thumbq.render.samples.mesh import FLAT, SMOOTH, Face, Material, Part, Point, box, icosphere, triangulate, tube

GREY = Material("grey", (0.5, 0.5, 0.5))
CLOSED = [
    figures.caffeine,
    figures.moebius_band,
    figures.planet,
    figures.sponge,
    figures.spring,
    figures.supershape,
    figures.torus_knot,
    things.gear,
    things.house,
    things.pawn,
    things.rocket,
    things.staircase,
]


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> list[Sample]:
    return write_samples(tmp_path_factory.mktemp("models"))


def test_every_run_writes_the_same_bytes(samples: list[Sample], tmp_path: Path):
    again = write_samples(tmp_path)
    assert [sample.model_hash for sample in again] == [sample.model_hash for sample in samples]


def test_the_hash_is_that_of_the_file(samples: list[Sample]):
    for sample in samples:
        assert sample.model_hash == hashlib.sha256(sample.path.read_bytes()).hexdigest()


def test_a_sample_that_was_changed_is_written_anew_and_others_are_left_alone(tmp_path: Path):
    first, second, *_ = write_samples(tmp_path)
    first.path.write_bytes(b"changed")
    kept = second.path.stat().st_mtime_ns
    assert hashlib.sha256(write_samples(tmp_path)[0].path.read_bytes()).hexdigest() == first.model_hash
    assert second.path.stat().st_mtime_ns == kept


def test_there_are_a_dozen_models_of_the_commonest_formats_and_one_is_corrupt(samples: list[Sample]):
    assert len(samples) >= 12
    assert [sample.name for sample in samples if not sample.sound] == [CORRUPT]
    formats = {format_of_name(sample.name) for sample in samples if sample.sound}
    assert formats == {"glb", "gltf", "obj", "stl", "fbx", "step"}
    assert [sample.path.name for sample in samples] == [f"{sample.model_id}-{sample.name}" for sample in samples]
    assert len({sample.model_hash for sample in samples}) == len(samples)


def test_the_models_are_small():
    assert max(len(make()) for make in CATALOGUE.values()) < 1_000_000


def test_the_content_gives_the_format_away(samples: list[Sample]):
    for sample in samples:
        assert format_of_content(sample.path) == format_of_name(sample.name), sample.name


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"solid cube\n facet normal 0 0 1\n", "stl"),
        (b"Kaydara FBX Binary  \0\x1a\0", "fbx"),
        (b'\xef\xbb\xbf\n{"asset":{}}', "gltf"),
        (b"# made by hand\nv 0 0 0\n", "obj"),
        (b"\x89PNG\r\n\x1a\n", None),
        (b"", None),
    ],
)
def test_a_file_is_known_by_its_first_bytes(tmp_path: Path, content: bytes, expected: str | None):
    path = tmp_path / "model"
    path.write_bytes(content)
    assert format_of_content(path) == expected


@pytest.mark.parametrize("shape", CLOSED, ids=lambda shape: shape.__name__)
def test_the_faces_look_outwards(shape: Callable[[], list[Part]]):
    """Else they are dark, or not drawn at all: the volume that they enclose is positive."""
    for part in shape():
        volume = 0.0
        for mesh in triangulate([part]).values():
            for a, b, c in ([mesh.points[corner] for corner in face] for face in mesh.indices):
                volume += a[0] * (b[1] * c[2] - b[2] * c[1]) + a[1] * (b[2] * c[0] - b[0] * c[2])
                volume += a[2] * (b[0] * c[1] - b[1] * c[0])
        assert volume > 0, part.paint


@pytest.mark.parametrize(
    "surface",
    [
        box(1, 2, 3),
        icosphere(1),
        tube(lambda u: (math.cos(3 * u), u, math.sin(3 * u)), lambda _: 0.1, 8, 5),
        *((part.points, part.faces) for part in (*things.gear(), *figures.sponge(), *figures.torus_knot())),
    ],
    ids=["box", "icosphere", "tube", "gear", "sponge", "knot"],
)
def test_a_closed_surface_has_every_edge_once_each_way(surface: tuple[list[Point], list[Face]]):
    """So every face looks to the same side as its neighbours, and none is missing."""
    points, faces = surface
    edges = Counter[tuple[Point, Point]]()
    for face in faces:
        corners = [points[corner] for corner in face]
        edges.update(zip(corners, corners[1:] + corners[:1], strict=True))
    assert all(edges[end, start] == count for (start, end), count in edges.items())


def test_a_smooth_ball_shares_corners_and_a_flat_one_does_not():
    ball = icosphere(2)
    (smooth,) = triangulate([Part(*ball, GREY, SMOOTH)]).values()
    (flat,) = triangulate([Part(*ball, GREY, FLAT)]).values()
    assert len(smooth.points) == 162
    assert len(flat.points) == 3 * 320
    assert all(math.dist(point, normal) < 0.05 for point, normal in zip(smooth.points, smooth.normals, strict=True))


def test_a_box_keeps_its_edges():
    (mesh,) = triangulate([Part(*box(1, 1, 1), GREY)]).values()
    assert len(mesh.points) == 24
    assert {tuple(sorted(map(abs, normal))) for normal in mesh.normals} == {(0, 0, 1)}


def test_a_glb_says_where_everything_is():
    content = files.glb([Part(*box(1, 2, 3), GREY)])
    magic, version, length, json_length, json_kind = struct.unpack_from("<4sIII4s", content)
    document = json.loads(content[20 : 20 + json_length])
    assert (magic, version, length, json_kind) == (b"glTF", 2, len(content), b"JSON")
    assert len(content) == 20 + json_length + 8 + document["buffers"][0]["byteLength"]
    assert document["accessors"][0]["min"] == [-0.5, 0.0, -1.5]
    assert document["accessors"][0]["max"] == [0.5, 2.0, 1.5]
    assert all(view["byteOffset"] % 4 == 0 for view in document["bufferViews"])


def test_the_stored_light_is_the_one_that_the_code_makes():
    assert STUDIO.read_bytes() == studio()
