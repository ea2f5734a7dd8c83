"""Sample models from mathematics and nature; all stand upright on the y axis."""

import math
from collections.abc import Callable

from thumbq.render.samples.mesh import (
    FLAT,
    Face,
    Material,
    Part,
    Point,
    hue,
    icosphere,
    rod,
    srgb,
    surface,
    tube,
)

# PubChem CID 2519: element and position in ångström; bonds by atom number.
CAFFEINE_ATOMS: list[tuple[str, float, float, float]] = [
    ("O", 0.47, 2.569, 0.001), ("O", -3.127, -0.444, 0.0), ("N", -0.969, -1.313, 0.0),
    ("N", 2.218, 0.141, 0.0), ("N", -1.348, 1.08, 0.0), ("N", 1.412, -1.937, 0.0),
    ("C", 0.858, 0.259, -0.001), ("C", 0.39, -1.026, 0.0), ("C", 0.031, 1.422, -0.001),
    ("C", -1.906, -0.25, 0.0), ("C", 2.503, -1.2, 0.0), ("C", -1.428, -2.696, 0.001),
    ("C", 3.193, 1.206, 0.0), ("C", -2.297, 2.188, 0.001), ("H", 3.516, -1.579, 0.001),
    ("H", -1.045, -3.197, -0.894), ("H", -2.519, -2.76, 0.001), ("H", -1.045, -3.196, 0.896),
    ("H", 4.199, 0.78, 0.0), ("H", 3.047, 1.809, -0.899), ("H", 3.047, 1.808, 0.9),
    ("H", -1.809, 3.165, 0.0), ("H", -2.932, 2.103, 0.888), ("H", -2.935, 2.102, -0.885),
]  # fmt: skip
ELEMENTS = {
    "C": (Material("carbon", srgb("3d405b"), roughness=0.35), 0.45),
    "H": (Material("hydrogen", srgb("f4f1ea"), roughness=0.35), 0.28),
    "N": (Material("nitrogen", srgb("3a86ff"), roughness=0.35), 0.43),
    "O": (Material("oxygen", srgb("ef233c"), roughness=0.35), 0.42),
}


def torus_knot() -> list[Part]:
    """Return a trefoil tube whose colour runs once around the hues of a sunset."""

    def curve(u: float) -> Point:
        angle = math.tau * u
        ring = 2.0 + math.cos(3 * angle)
        return ring * math.cos(2 * angle), math.sin(3 * angle) * 1.1, ring * math.sin(2 * angle)

    rings = 180
    points, faces = tube(curve, lambda _: 0.55, rings, 18, closed=True)
    hues = [round(7.5 - 47.5 * math.cos(math.tau * i / rings)) for i in range(rings)]
    return [Part(points, faces, [_enamel(hues[i % rings], 0.3) for i in range(len(faces))])]


def moebius_band() -> list[Part]:
    """Return a band with one side and one edge: going around it twice covers both faces."""

    def at(u: float, v: float) -> Point:
        turn = math.tau * 2 * u
        phase = math.pi * v
        wide, thick = 0.62 * _power(math.cos(phase), 0.35), 0.11 * _power(math.sin(phase), 0.35)
        lean = turn / 2
        out = 1.5 + wide * math.cos(lean) - thick * math.sin(lean)
        return out * math.cos(turn), wide * math.sin(lean) + thick * math.cos(lean), -out * math.sin(turn)

    columns = 192
    points, faces = surface(at, columns, 12)
    hues = [round(190 + 45 * math.cos(2 * math.tau * i / columns)) for i in range(columns)]
    return [Part(points, faces, [_enamel(hues[i % columns], 0.45) for i in range(len(faces))])]


def _enamel(degrees: int, roughness: float) -> Material:
    return Material(f"enamel {degrees}", hue(degrees, 0.72, 0.95), roughness=roughness)


def supershape() -> list[Part]:
    """Return a star-like solid from the superformula."""

    def radius(angle: float, lobes: float, n1: float, n2: float) -> float:
        quarter = lobes * angle / 4
        return math.pow(abs(math.cos(quarter)) ** n2 + abs(math.sin(quarter)) ** n2, -1 / n1)

    def at(u: float, v: float) -> Point:
        longitude, latitude = math.tau * u, math.pi * (v - 0.5)
        out, rise = radius(longitude, 8, 0.55, 1.4), radius(latitude, 4, 0.9, 1.6)
        level = out * rise * math.cos(latitude)
        return level * math.cos(longitude), rise * math.sin(latitude) * 0.75, -level * math.sin(longitude)

    points, faces = surface(at, 112, 56, wrap_u=True)
    return [Part(points, faces, Material("clay", srgb("d9a441")), crease=60.0)]


def sponge() -> list[Part]:
    """Return Menger's sponge after two steps, without the inner faces."""
    size = 9

    def solid(cell: tuple[int, ...]) -> bool:
        if min(cell) < 0 or max(cell) >= size:
            return False
        return all(sum(c // step % 3 == 1 for c in cell) < 2 for step in (1, 3))

    points: dict[Point, int] = {}
    faces: list[Face] = []
    for cell in ((x, y, z) for x in range(size) for y in range(size) for z in range(size)):
        if not solid(cell):
            continue
        for axis in range(3):
            for side in (0, 1):
                near = list(cell)
                near[axis] += 2 * side - 1
                if solid(tuple(near)):
                    continue
                ring = [(0, 0), (1, 0), (1, 1), (0, 1)] if side else [(0, 0), (0, 1), (1, 1), (1, 0)]
                corners = []
                for across, up in ring:
                    corner = [float(c) for c in cell]
                    corner[axis] += side
                    corner[(axis + 1) % 3] += across
                    corner[(axis + 2) % 3] += up
                    corners.append(points.setdefault((corner[0], corner[1], corner[2]), len(points)))
                faces.append(tuple(corners))
    return [Part(list(points), faces, Material("plaster", srgb("c9c5bd")), crease=FLAT)]


def spring() -> list[Part]:
    """Return a polished compression spring, wound tighter at both ends."""
    turns = 7.0

    def curve(u: float) -> Point:
        angle = math.tau * turns * u
        rise = u * 4.2 - 0.25 * math.sin(math.tau * u)
        return 1.1 * math.cos(angle), rise, -1.1 * math.sin(angle)

    points, faces = tube(curve, lambda u: 0.2 * math.sqrt(min(1.0, 0.03 + 60 * min(u, 1 - u))), 240, 14)
    return [Part(points, faces, Material("steel", srgb("b8c4d0"), metallic=0.9, roughness=0.25))]


def caffeine() -> list[Part]:
    """Return the caffeine molecule as balls and sticks."""
    ball, ball_faces = icosphere(2)
    parts = []
    atoms = [(element, (x, y, z)) for element, x, y, z in CAFFEINE_ATOMS]
    for element, (material, radius) in ELEMENTS.items():
        points: list[Point] = []
        faces: list[Face] = []
        for _, (x, y, z) in (atom for atom in atoms if atom[0] == element):
            faces += [tuple(corner + len(points) for corner in face) for face in ball_faces]
            points += [(x + radius * bx, y + radius * by, z + radius * bz) for bx, by, bz in ball]
        parts.append(Part(points, faces, material))
    sticks: list[Point] = []
    stick_faces: list[Face] = []
    for number, (first, start) in enumerate(atoms):
        for second, end in atoms[number + 1 :]:
            if math.dist(start, end) < (1.25 if "H" in (first, second) else 1.7):
                points, faces = rod(start, end, 0.13, 12)
                stick_faces += [tuple(corner + len(sticks) for corner in face) for face in faces]
                sticks += points
    return [*parts, Part(sticks, stick_faces, Material("bond", srgb("c8ccd4"), roughness=0.4))]


def planet() -> list[Part]:
    """Return a low-poly planet with seas, green land, snowy caps and a moon."""
    ball, faces = icosphere(4)
    heights = [_noise(2.1 * x, 2.1 * y, 2.1 * z) + 0.45 * _noise(5.3 * z, 5.3 * x, 5.3 * y) for x, y, z in ball]
    factors = [1 + 0.2 * min(max(height - 0.1, 0.0), 0.5) for height in heights]
    raised = [(x * f, y * f, z * f) for (x, y, z), f in zip(ball, factors, strict=True)]
    colors = {
        name: Material(name, srgb(text), roughness=0.75)
        for name, text in (("ice", "f4f7fb"), ("deep", "1f5f9e"), ("shore", "3d9bd1"), ("sand", "ecd9a0"),
                           ("green", "7fb45a"), ("wood", "4f8a4c"), ("rock", "a08467"))
    }  # fmt: skip
    paint = []
    for a, b, c in faces:
        height = (heights[a] + heights[b] + heights[c]) / 3
        polar = abs(ball[a][1] + ball[b][1] + ball[c][1]) / 3 + 0.1 * height > 0.86
        steps = ((-0.3, "deep"), (0.1, "shore"), (0.2, "sand"), (0.55, "green"), (0.85, "wood"))
        paint.append(colors["ice" if polar else next((name for top, name in steps if height < top), "rock")])
    moon, moon_faces = icosphere(2)
    small = [(1.3 + 0.24 * x, 0.75 + 0.24 * y, 0.35 + 0.24 * z) for x, y, z in moon]
    return [
        Part(raised, faces, paint, FLAT),
        Part(small, moon_faces, Material("moon", srgb("cfd2d6"), roughness=0.9), FLAT),
    ]


def island() -> list[Part]:
    """Return a block cut out of a tropical island, with its sea."""
    cells, level = 56, 0.14

    def height(u: float, v: float) -> float:
        x, z = 2 * u - 1, 2 * v - 1
        cone = math.pow(max(0.0, 1 - math.hypot(x * 0.95, z * 1.05)), 1.5)
        rough = 0.5 + 0.5 * _noise(4 * x, 1.7, 4 * z) + 0.25 * _noise(9 * x, 4.2, 9 * z)
        return 0.04 + 1.25 * cone * (0.35 + rough) + 0.05 * rough

    def ground(u: float, v: float) -> Point:
        return 2 * u - 1, height(u, v), 1 - 2 * v

    points, faces = surface(ground, cells, cells)
    paint = [_ground(sum(points[corner][1] for corner in face) / 4) for face in faces]
    earth = _walls(cells, lambda _u, _v: -0.25, height)
    water = _walls(cells, lambda u, v: min(level, height(u, v)), lambda _u, _v: level)
    sea = surface(lambda u, v: (2 * u - 1, level, 1 - 2 * v), 1, 1)
    blue = Material("sea", srgb("34bfd6"), roughness=0.2)
    return [
        Part(points, faces, paint, FLAT),
        Part(*earth, Material("earth", srgb("7a5740"), roughness=0.9), FLAT),
        Part(*water, blue, FLAT),
        Part(*sea, blue, FLAT),
    ]


def _ground(height: float) -> Material:
    steps = ((0.2, "f2e3b3"), (0.45, "8cc063"), (0.75, "559a55"), (1.05, "9a8d80"))
    color = next((color for limit, color in steps if height < limit), "fbfbfd")
    return Material(color, srgb(color), roughness=0.9)


def _walls(
    cells: int, bottom: Callable[[float, float], float], top: Callable[[float, float], float]
) -> tuple[list[Point], list[Face]]:
    """Return the four sides of a square block between two height fields."""
    points: list[Point] = []
    faces: list[Face] = []
    for corner, (du, dv) in (((0, 0), (1, 0)), ((1, 0), (0, 1)), ((1, 1), (-1, 0)), ((0, 1), (0, -1))):
        for i in range(cells + 1):
            u, v = corner[0] + du * i / cells, corner[1] + dv * i / cells
            if i:
                faces.append((len(points) - 2, len(points), len(points) + 1, len(points) - 1))
            points += [(2 * u - 1, bottom(u, v), 1 - 2 * v), (2 * u - 1, top(u, v), 1 - 2 * v)]
    return points, faces


def _noise(x: float, y: float, z: float) -> float:
    """Return smooth and irregular heights, about -1..1, the same everywhere."""
    return (
        math.sin(1.7 * x + 1.3 * math.sin(1.1 * y + 0.4))
        + math.sin(1.9 * y + 1.2 * math.sin(1.3 * z + 1.9))
        + math.sin(1.6 * z + 1.4 * math.sin(1.2 * x + 3.1))
    ) / 2.2


def _power(value: float, exponent: float) -> float:
    return math.copysign(abs(value) ** exponent, value)
