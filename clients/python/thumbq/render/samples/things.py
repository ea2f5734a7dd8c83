"""Sample models of things people make; all stand upright on the y axis."""

import math
from collections.abc import Sequence

from thumbq.render.samples.mesh import (
    FLAT,
    Face,
    Material,
    Part,
    Point,
    box,
    lathe,
    prism,
    srgb,
    surface,
    tube,
)

Profile = list[tuple[float, float]]


def gear() -> list[Part]:
    """Return a spur gear with a thin web and a raised hub."""
    teeth, steps = 18, 8
    shape = [0.0, 0.0, 0.06, 0.5, 1.0, 1.0, 1.0, 0.5]  # one tooth: how far out the rim is
    profile = [(None, -0.3), (None, 0.3), (1.6, 0.3), (1.55, 0.12), (0.85, 0.12), (0.8, 0.42), (0.45, 0.42)]
    rows = [*profile, *((radius, -height) for radius, height in reversed(profile[2:])), profile[0]]

    def at(u: float, v: float) -> Point:
        column = round(u * teeth * steps)
        radius, height = rows[round(v * (len(rows) - 1))]
        out = 1.85 + 0.32 * shape[column % steps] if radius is None else radius
        angle = math.tau * column / (teeth * steps)
        return out * math.cos(angle), height, -out * math.sin(angle)

    points, faces = surface(at, teeth * steps, len(rows) - 1, wrap_u=True)
    return [Part(points, faces, Material("steel", srgb("9aa5b1")), crease=30.0)]


def pawn() -> list[Part]:
    """Return a chess pawn, turned on a lathe."""
    profile: Profile = [(0.0, 0.0), (0.86, 0.0)]
    profile += _arc(0.86, 0.12, 0.12, -90, 70, 8)
    profile += [(0.82, 0.3), (0.74, 0.34)]
    profile += _arc(0.7, 0.45, 0.11, -80, 90, 8)
    profile += [(0.62, 0.57), (0.52, 0.66), (0.43, 0.8), (0.37, 0.96), (0.325, 1.14), (0.3, 1.3), (0.29, 1.4)]
    profile += [(0.46, 1.46)]
    profile += _arc(0.5, 1.51, 0.05, -60, 90, 6)
    profile += [(0.36, 1.6), (0.24, 1.64)]
    profile += _arc(0.0, 2.0, 0.43, -56, 90, 22)
    points, faces = lathe(profile, 48)
    return [Part(points, faces, Material("ivory", srgb("e8dcc4")), crease=35.0)]


def teacup() -> list[Part]:
    """Return a cup of tea on its saucer."""
    china = Material("china", srgb("f3f1ec"), roughness=0.18)
    band = Material("band", srgb("2a6f97"), roughness=0.25)
    outside = [(0.0, 0.12), (0.46, 0.12), (0.46, 0.2)]
    outside += [(0.5 + 0.52 * math.sin(t), 0.22 + 0.95 * (1 - math.cos(t)) ** 0.8) for t in _steps(0.05, 1.35, 14)]
    rim = outside[-1]
    inside = [(r - 0.055, max(h, 0.28)) for r, h in reversed(outside[3:])]
    cup = [*outside, *_arc(rim[0] - 0.027, rim[1], 0.027, 10, 170, 5), *inside, (0.0, 0.28)]
    saucer = [(0.0, 0.0), (0.62, 0.0), (0.66, 0.04), (1.1, 0.1), (1.42, 0.24)]
    saucer += [(1.44, 0.26), (1.42, 0.28), (1.08, 0.15), (0.66, 0.09), (0.0, 0.09)]

    def handle(u: float) -> Point:
        angle = math.radians(112 - 232 * u)
        return 1.04 + 0.42 * math.cos(angle), 0.7 + 0.33 * math.sin(angle), 0.0

    def stripe(u: float, v: float) -> Point:
        radius, height = 1.3 - 0.16 * v, 0.244 - 0.061 * v
        return radius * math.cos(math.tau * u), height, -radius * math.sin(math.tau * u)

    return [
        Part(*lathe(cup, 64), china, crease=50.0),
        Part(*lathe(saucer, 64), china, crease=50.0),
        Part(*surface(stripe, 64, 1, wrap_u=True), band),
        Part(*tube(handle, lambda u: 0.075 + 0.02 * abs(2 * u - 1), 24, 14), china),
        Part(*lathe([(0.955, 0.93), (0.0, 0.93)], 64), Material("tea", srgb("a2481a"), roughness=0.4)),
    ]


def house() -> list[Part]:
    """Return a cottage with a garden."""
    stone = Material("stone", srgb("b7b0a6"), roughness=0.9)
    wood = Material("wood", srgb("7a4a2b"), roughness=0.8)
    parts = [
        Part(*prism(_ring(2.1, 40), -0.12, 0.0), Material("grass", srgb("83b55f"), roughness=1.0), crease=30.0),
        *_walls_and_roof(),
        Part(*box(0.3, 0.85, 0.3), stone, crease=FLAT).moved(-0.55, 1.35, -0.35),
        Part(*box(0.4, 0.72, 0.06), wood, crease=FLAT).moved(0.05, 0.0, 0.8),
        Part(*box(0.7, 0.06, 0.4), stone, crease=FLAT).moved(0.05, 0.0, 1.0),
    ]
    for x, z, degrees in ((-0.6, 0.8, 0), (0.68, 0.8, 0), (1.0, 0.0, 90)):
        parts += [part.turned(degrees).moved(x, 0.42, z) for part in _window(wood)]
    for x, z, size in ((1.45, 1.0, 1.0), (-1.5, 0.75, 0.8), (-1.35, -0.9, 1.15)):
        parts += [part.moved(x, 0.0, z) for part in _tree(wood, size)]
    return parts


def _walls_and_roof() -> list[Part]:
    wall = Material("plaster", srgb("f6ead7"), roughness=0.9)
    roof = Material("tiles", srgb("c8553d"), roughness=0.7)
    gable: list[Point] = [(x, y, z) for x in (-1.0, 1.0) for y, z in ((1.1, -0.8), (1.1, 0.8), (1.85, 0.0))]
    gable_faces: list[Face] = [(0, 1, 2), (3, 5, 4)]
    slopes = [
        _slab((-1.2, 1.88, 0.0), (-1.2, 0.95, 1.0), 2.4, 0.1),
        _slab((1.2, 1.88, 0.0), (1.2, 0.95, -1.0), -2.4, 0.1),
    ]
    return [
        Part(*box(2.0, 1.1, 1.6), wall, crease=FLAT),
        Part(gable, gable_faces, wall, crease=FLAT),
        *(Part(*slope, roof, crease=FLAT) for slope in slopes),
    ]


def _window(wood: Material) -> list[Part]:
    glass = Material("glass", srgb("8ecae6"), roughness=0.1)
    return [
        Part(*box(0.44, 0.44, 0.05), wood, crease=FLAT),
        Part(*box(0.34, 0.34, 0.07), glass, crease=FLAT).moved(y=0.05),
    ]


def _tree(wood: Material, size: float) -> list[Part]:
    leaf = Material("leaves", srgb("588157"), roughness=0.9)
    crown = [(0.42, 0.35), (0.2, 0.8), (0.34, 0.75), (0.14, 1.2), (0.24, 1.15), (0.0, 1.65)]
    return [
        Part(*lathe([(0.09 * size, 0.0), (0.07 * size, 0.5 * size)], 8), wood),
        Part(*lathe([(0.0, 0.35 * size), *((r * size, h * size) for r, h in crown)], 9), leaf, crease=FLAT),
    ]


def rocket() -> list[Part]:
    """Return a toy rocket with three fins."""
    white = Material("white", srgb("f1f3f5"), roughness=0.35)
    red = Material("red", srgb("e63946"), roughness=0.35)
    dark = Material("dark", srgb("39424e"), roughness=0.5)
    hull = [(0.62 * math.sin(t) ** 0.8, 0.5 + 3.0 * (1 - t / math.pi) ** 1.05) for t in _steps(2.75, 0.95, 22)]
    tip = [(0.62 * math.sin(t) ** 0.8, 0.5 + 3.0 * (1 - t / math.pi) ** 1.05) for t in _steps(0.95, 0.0, 12)]
    fin = [(0.3, 0.95), (0.62, 1.4), (1.05, 0.75), (1.15, 0.05), (0.9, 0.3), (0.42, 0.62)]
    ring = [(0.2, 0.0), (0.26, 0.03), (0.26, 0.06), (0.2, 0.09)]
    parts = [
        Part(*lathe([(0.0, hull[0][1]), *hull], 40), white),
        Part(*lathe(tip, 40), red),
        Part(*lathe([(0.0, 0.4), (0.34, 0.4), (0.26, 0.75)], 32), dark),
        *(_fin(fin, 0.07, red).turned(degrees) for degrees in (90, 210, 330)),
    ]
    for profile, material in (
        (ring, dark),
        ([(0.2, 0.02), (0.2, 0.05), (0.0, 0.07)], Material("sky", srgb("8ecae6"), roughness=0.1)),
    ):
        part = Part(*lathe(profile, 28), material)
        upright = [(x, 2.05 - z, 0.59 + y) for x, y, z in part.points]
        parts.append(Part(upright, part.faces, material).turned(30))
    return parts


STEPS, RISE, SWEEP = 18, 0.27, math.radians(28)


def staircase() -> list[Part]:
    """Return a spiral staircase around its post."""
    wood = Material("oak", srgb("c08552"), roughness=0.6)
    iron = Material("iron", srgb("3b4252"), metallic=0.4, roughness=0.4)
    top = STEPS * RISE + 1.15
    post = [(0.0, -0.05), (0.5, -0.05), (0.5, 0.0), (0.16, 0.0), (0.16, top), (0.0, top)]
    parts = [Part(*lathe(post, 24), iron)]
    for step in range(STEPS):
        parts += _step(step, wood, iron)

    def rail(u: float) -> Point:
        angle = SWEEP * (0.4 + (STEPS - 0.7) * u)
        return 1.45 * math.cos(angle), RISE * (1 + (STEPS - 1) * u) + 0.92, 1.45 * math.sin(angle)

    return [*parts, Part(*tube(rail, lambda _: 0.05, 110, 10), wood)]


def _step(step: int, wood: Material, iron: Material) -> list[Part]:
    start, level = step * SWEEP, (step + 1) * RISE
    outer = [(1.55, start + SWEEP * 1.12 * k / 5) for k in range(6)]
    inner = [(0.14, start + SWEEP * 1.1), (0.14, start)]
    outline = [(r * math.cos(a), r * math.sin(a)) for r, a in (*outer, *inner)]
    angle = start + SWEEP * 0.56
    baluster = Part(*lathe([(0.022, level), (0.022, level + 0.92)], 6), iron)
    return [
        Part(*prism(outline, level - 0.07, level), wood, crease=30.0),
        baluster.moved(1.45 * math.cos(angle), 0.0, 1.45 * math.sin(angle)),
    ]


def _fin(outline: Profile, thickness: float, material: Material) -> Part:
    """Return a plate in the x-y plane, its outline given clockwise."""
    count = len(outline)
    points = [(x, y, side * thickness / 2) for side in (1, -1) for x, y in outline]
    faces: list[Face] = [(i, (i + 1) % count, (i + 1) % count + count, i + count) for i in range(count)]
    faces += [tuple(reversed(range(count))), tuple(range(count, 2 * count))]
    return Part(points, faces, material, crease=FLAT)


def _slab(ridge: Point, eaves: Point, length: float, thickness: float) -> tuple[list[Point], list[Face]]:
    """Return a board from the ridge down to the eaves, `length` along x."""
    points = [
        (x, y - low, z)
        for low in (0.0, thickness)
        for x, y, z in (
            eaves,
            (eaves[0] + length, eaves[1], eaves[2]),
            (ridge[0] + length, ridge[1], ridge[2]),
            ridge,
        )
    ]
    faces: list[Face] = [(0, 1, 2, 3), (7, 6, 5, 4), (0, 4, 5, 1), (1, 5, 6, 2), (2, 6, 7, 3), (3, 7, 4, 0)]
    return points, faces


def _ring(radius: float, count: int) -> Profile:
    return [(radius * math.cos(math.tau * i / count), radius * math.sin(math.tau * i / count)) for i in range(count)]


def _arc(x: float, y: float, radius: float, start: float, end: float, count: int) -> Profile:
    """Return points on a circle from `start` to `end` degrees, both included."""
    return [
        (max(0.0, x + radius * math.cos(a)), y + radius * math.sin(a))
        for a in _steps(math.radians(start), math.radians(end), count)
    ]


def _steps(start: float, end: float, count: int) -> Sequence[float]:
    return [start + (end - start) * i / (count - 1) for i in range(count)]
