"""Meshes in plain Python: enough geometry to build the sample models, with no dependency."""

import colorsys
import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations
from typing import TypeAlias

Point: TypeAlias = tuple[float, float, float]
Color: TypeAlias = tuple[float, float, float]
Face: TypeAlias = tuple[int, ...]

SMOOTH = 40.0
FLAT = 0.0


def srgb(text: str) -> Color:
    """Return the linear colour of a web colour such as `e07a5f`."""
    channels = (int(text[i : i + 2], 16) / 255 for i in (0, 2, 4))
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels)
    return red, green, blue


def hue(degrees: float, saturation: float, value: float) -> Color:
    """Return the linear colour of a hue on the colour wheel."""
    channels = colorsys.hsv_to_rgb(degrees / 360 % 1, saturation, value)
    return srgb("".join(f"{round(channel * 255):02x}" for channel in channels))


@dataclass(frozen=True, slots=True)
class Material:
    """A physically based material; `color` is linear."""

    name: str
    color: Color
    metallic: float = 0.0
    roughness: float = 0.6


@dataclass(frozen=True, slots=True)
class Part:
    """A surface, its faces counter-clockwise seen from outside; `paint` is for all faces, or one for each.

    Edges sharper than `crease` degrees stay sharp.
    """

    points: Sequence[Point]
    faces: Sequence[Face]
    paint: Material | Sequence[Material]
    crease: float = SMOOTH

    def moved(self, x: float = 0.0, y: float = 0.0, z: float = 0.0) -> "Part":
        """Return this part, shifted."""
        return replace(self, points=[(px + x, py + y, pz + z) for px, py, pz in self.points])

    def turned(self, degrees: float) -> "Part":
        """Return this part, turned about the vertical (y) axis."""
        cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
        return replace(self, points=[(x * cos + z * sin, y, z * cos - x * sin) for x, y, z in self.points])

    def z_up(self) -> "Part":
        """Return this part, for a file format whose vertical axis is z."""
        return replace(self, points=[(x, -z, y) for x, y, z in self.points])


@dataclass(frozen=True, slots=True)
class Triangles:
    """Indexed corners with normals, as files store them. They are rounded, so the bytes are the same everywhere."""

    points: list[Point] = field(default_factory=list)
    normals: list[Point] = field(default_factory=list)
    indices: list[tuple[int, int, int]] = field(default_factory=list)
    known: dict[tuple[Point, Point], int] = field(default_factory=dict)

    def corner(self, point: Point, normal: Point) -> int:
        """Return the index of this corner, added when it is new."""
        index = self.known.setdefault((point, normal), len(self.points))
        if index == len(self.points):
            self.points.append(point)
            self.normals.append(normal)
        return index


def triangulate(parts: Sequence[Part]) -> dict[Material, Triangles]:
    """Return the triangles of each material; a corner's normal is the mean of the faces it runs smoothly into."""
    meshes: dict[Material, Triangles] = defaultdict(Triangles)
    for part in parts:
        keys = [_rounded(point) for point in part.points]
        normals = [_face_normal(part, face) for face in part.faces]
        units = [_unit(normal) for normal in normals]
        around: dict[Point, list[tuple[Point, Point]]] = defaultdict(list)
        for number, face in enumerate(part.faces):
            for corner in face:
                around[keys[corner]].append((normals[number], units[number]))
        limit = math.cos(math.radians(part.crease)) - 1e-6
        for number, face in enumerate(part.faces):
            if normals[number] == (0.0, 0.0, 0.0):
                continue
            mesh = meshes[part.paint if isinstance(part.paint, Material) else part.paint[number]]
            corners = [
                mesh.corner(keys[corner], _corner_normal(units[number], around[keys[corner]], limit)) for corner in face
            ]
            mesh.indices.extend((corners[0], corners[i], corners[i + 1]) for i in range(1, len(corners) - 1))
    return meshes


def _corner_normal(own: Point, others: list[tuple[Point, Point]], limit: float) -> Point:
    x = y = z = 0.0
    for weighted, unit in others:
        if own[0] * unit[0] + own[1] * unit[1] + own[2] * unit[2] >= limit:
            x, y, z = x + weighted[0], y + weighted[1], z + weighted[2]
    return _rounded(_unit((x, y, z)))


def _face_normal(part: Part, face: Face) -> Point:
    """Return Newell's normal: its length is twice the area, and it suits quads that are not quite flat."""
    x = y = z = 0.0
    for corner, following in zip(face, (*face[1:], face[0]), strict=True):
        ax, ay, az = part.points[corner]
        bx, by, bz = part.points[following]
        x, y, z = x + (ay - by) * (az + bz), y + (az - bz) * (ax + bx), z + (ax - bx) * (ay + by)
    return (x, y, z) if x * x + y * y + z * z > 1e-16 else (0.0, 0.0, 0.0)


def _unit(vector: Point) -> Point:
    length = math.hypot(*vector) or 1.0
    return vector[0] / length, vector[1] / length, vector[2] / length


def _rounded(point: Point) -> Point:
    return round(point[0], 4) + 0.0, round(point[1], 4) + 0.0, round(point[2], 4) + 0.0


def surface(
    at: Callable[[float, float], Point],
    columns: int,
    rows: int,
    *,
    wrap_u: bool = False,
    wrap_v: bool = False,
) -> tuple[list[Point], list[Face]]:
    """Return a grid over u, v in 0..1 whose outside is the side that u × v points to; a wrapped side has no seam."""
    width, height = columns + (not wrap_u), rows + (not wrap_v)
    points = [at(i / columns, j / rows) for j in range(height) for i in range(width)]
    faces: list[Face] = []
    for j in range(rows):
        for i in range(columns):
            right, up = (i + 1) % width, (j + 1) % height
            faces.append((j * width + i, j * width + right, up * width + right, up * width + i))
    return points, faces


def lathe(profile: Sequence[tuple[float, float]], segments: int) -> tuple[list[Point], list[Face]]:
    """Turn a profile of (radius, height), given from the bottom up, about the vertical axis."""

    def at(u: float, v: float) -> Point:
        radius, height = profile[round(v * (len(profile) - 1))]
        angle = math.tau * u
        return radius * math.cos(angle), height, -radius * math.sin(angle)

    return surface(at, segments, len(profile) - 1, wrap_u=True)


def tube(
    curve: Callable[[float], Point],
    radius: Callable[[float], float],
    rings: int,
    sides: int,
    *,
    closed: bool = False,
) -> tuple[list[Point], list[Face]]:
    """Return a round tube along a curve that bends everywhere (its frame is its own); open ends are capped."""

    def at(u: float, v: float) -> Point:
        step = 1e-3
        here, before, after = curve(u), curve(u - step), curve(u + step)
        tangent = _unit((after[0] - before[0], after[1] - before[1], after[2] - before[2]))
        bend = tuple(after[k] + before[k] - 2 * here[k] for k in range(3))
        along = sum(bend[k] * tangent[k] for k in range(3))
        normal = _unit((bend[0] - along * tangent[0], bend[1] - along * tangent[1], bend[2] - along * tangent[2]))
        binormal = cross(tangent, normal)
        cos, sin = radius(u) * math.cos(math.tau * v), radius(u) * math.sin(math.tau * v)
        x, y, z = (here[k] + cos * normal[k] + sin * binormal[k] for k in range(3))
        return x, y, z

    # u runs across and v around, so u × v points inwards: the faces are turned over.
    points, faces = surface(at, rings, sides, wrap_u=closed, wrap_v=True)
    faces = [tuple(reversed(face)) for face in faces]
    if not closed:
        width = rings + 1
        faces.append(tuple(j * width for j in reversed(range(sides))))
        faces.append(tuple(j * width + rings for j in range(sides)))
    return points, faces


def cross(a: Point, b: Point) -> Point:
    """Return the cross product."""
    return a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]


def prism(outline: Sequence[tuple[float, float]], bottom: float, top: float) -> tuple[list[Point], list[Face]]:
    """Raise a convex outline of (x, z), clockwise seen from above, from `bottom` to `top`."""
    count = len(outline)
    points = [(x, bottom, z) for x, z in outline] + [(x, top, z) for x, z in outline]
    faces: list[Face] = [(i, i + count, (i + 1) % count + count, (i + 1) % count) for i in range(count)]
    faces += [tuple(range(count)), tuple(reversed(range(count, 2 * count)))]
    return points, faces


def box(width: float, height: float, depth: float) -> tuple[list[Point], list[Face]]:
    """Return a box that stands on the ground about the vertical axis."""
    x, z = width / 2, depth / 2
    return prism([(-x, -z), (x, -z), (x, z), (-x, z)], 0.0, height)


def icosphere(divisions: int) -> tuple[list[Point], list[Face]]:
    """Return a unit ball of 20·4^divisions triangles."""
    points, faces = _icosahedron()
    for _ in range(divisions):
        middles: dict[tuple[int, int], int] = {}
        faces = [part for face in faces for part in _quartered(face, points, middles)]
    return points, list(faces)


def _icosahedron() -> tuple[list[Point], list[tuple[int, int, int]]]:
    golden = (1 + math.sqrt(5)) / 2
    points = [_unit(p) for a in (-1, 1) for b in (-golden, golden) for p in ((a, b, 0.0), (0.0, a, b), (b, 0.0, a))]
    edge = min(math.dist(points[0], p) for p in points[1:]) + 1e-6
    faces = []
    for a, b, c in combinations(range(12), 3):
        if max(math.dist(points[i], points[j]) for i, j in ((a, b), (b, c), (a, c))) < edge:
            across = cross(_between(points[a], points[b]), _between(points[a], points[c]))
            outwards = sum(n * p for n, p in zip(across, points[a], strict=True)) > 0
            faces.append((a, b, c) if outwards else (a, c, b))
    return points, faces


def _between(start: Point, end: Point) -> Point:
    return end[0] - start[0], end[1] - start[1], end[2] - start[2]


def _quartered(
    face: tuple[int, int, int], points: list[Point], middles: dict[tuple[int, int], int]
) -> list[tuple[int, int, int]]:
    """Return four triangles for one on the ball; the middles of edges are added to `points`, each once."""

    def middle(a: int, b: int) -> int:
        key = (min(a, b), max(a, b))
        if key not in middles:
            middles[key] = len(points)
            p, q = points[a], points[b]
            points.append(_unit((p[0] + q[0], p[1] + q[1], p[2] + q[2])))
        return middles[key]

    a, b, c = face
    ab, bc, ca = middle(a, b), middle(b, c), middle(c, a)
    return [(a, ab, ca), (ab, b, bc), (ca, bc, c), (ab, bc, ca)]


def rod(start: Point, end: Point, radius: float, sides: int) -> tuple[list[Point], list[Face]]:
    """Return a straight round rod without caps."""
    along = _unit((end[0] - start[0], end[1] - start[1], end[2] - start[2]))
    across = _unit(cross(along, (0.0, 0.0, 1.0) if abs(along[2]) < 0.9 else (1.0, 0.0, 0.0)))
    third = cross(along, across)

    def at(u: float, v: float) -> Point:
        cos, sin = radius * math.cos(math.tau * u), radius * math.sin(math.tau * u)
        x, y, z = (start[k] + (end[k] - start[k]) * v + cos * across[k] + sin * third[k] for k in range(3))
        return x, y, z

    return surface(at, sides, 1, wrap_u=True)
