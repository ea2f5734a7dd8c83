"""Models that are hard to show: white, black, thin, lost among far points, or nothing but points and lines."""

import base64
import json
import struct
from collections.abc import Callable

from thumbq.render.samples import files, things
from thumbq.render.samples.mesh import Face, Material, Part, Point, box, icosphere, rod

WHITE, BLACK = Material("white", (1.0, 1.0, 1.0), roughness=1.0), Material("black", (0.0, 0.0, 0.0), roughness=1.0)
GREY = Material("grey", (0.4, 0.4, 0.4))

CORNERS: list[Point] = [(x, y, z) for x in (-1.0, 1.0) for y in (-1.0, 1.0) for z in (-1.0, 1.0)]
EDGES = [(0, 1), (0, 2), (0, 4), (1, 3), (1, 5), (2, 3), (2, 6), (3, 7), (4, 5), (4, 6), (5, 7), (6, 7)]


def stray(distance: float) -> Part:
    """Return a triangle with hardly any surface, far away."""
    points = [
        (distance, distance, distance),
        (distance + 1e-3, distance, distance),
        (distance, distance + 1e-3, distance),
    ]
    return Part(points, [(0, 1, 2)], GREY)


def gltf_of(mode: int, indices: list[int]) -> bytes:
    """Return the corners of a cube as glTF points (mode 0) or lines (mode 1)."""
    places = b"".join(struct.pack("<3f", *corner) for corner in CORNERS)
    order = struct.pack(f"<{len(indices)}H", *indices)
    uri = "data:application/octet-stream;base64," + base64.b64encode(places + order).decode()
    document = {
        "asset": {"version": "2.0"},
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": [{"mesh": 0}],
        "meshes": [{"primitives": [{"attributes": {"POSITION": 0}, "indices": 1, "mode": mode}]}],
        "buffers": [{"uri": uri, "byteLength": len(places) + len(order)}],
        "bufferViews": [
            {"buffer": 0, "byteLength": len(places)},
            {"buffer": 0, "byteOffset": len(places), "byteLength": len(order)},
        ],
        "accessors": [
            {"bufferView": 0, "componentType": 5126, "count": 8, "type": "VEC3", "min": [-1] * 3, "max": [1] * 3},
            {"bufferView": 1, "componentType": 5123, "count": len(indices), "type": "SCALAR"},
        ],
    }
    return json.dumps(document).encode()


def _flat(material: Material) -> list[Part]:
    points: list[Point] = [(-1.0, 0.0, 0.0), (1.0, 0.0, 0.0), (1.0, 2.0, 0.0), (-1.0, 2.0, 0.0)]
    faces: list[Face] = [(0, 1, 2, 3)]
    return [Part(points, faces, material)]


MODELS: dict[str, Callable[[], bytes]] = {
    "points.gltf": lambda: gltf_of(0, list(range(8))),
    "lines.gltf": lambda: gltf_of(1, [corner for edge in EDGES for corner in edge]),
    "white-ball.glb": lambda: files.glb([Part(*icosphere(3), WHITE)]),
    "white-sheet.glb": lambda: files.glb(_flat(WHITE)),
    "black-ball.glb": lambda: files.glb([Part(*icosphere(3), BLACK)]),
    "black-sheet.glb": lambda: files.glb(_flat(BLACK)),
    "wire.stl": lambda: files.stl([Part(*rod((0.0, 0.0, 0.0), (100.0, 30.0, 10.0), 0.02, 6), GREY)]),
    "thin-plate.obj": lambda: files.obj([Part(*box(10.0, 0.001, 10.0), GREY)]),
    "far-point.glb": lambda: files.glb([*things.pawn(), stray(1e4)]),
    "far-point.obj": lambda: files.obj([*things.pawn(), stray(1e6)]),
    "far-point.stl": lambda: files.stl([*things.rocket(), stray(1e3)]),
}
