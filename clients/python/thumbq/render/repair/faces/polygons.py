"""Cuts faces of many corners into triangles, for which the renderer would take too long.

Ears are cut off one after the other, as the renderer does, but in bounded time for all faces of a model together.
What is left then becomes fans.
"""

from array import array
from collections.abc import Iterator, Sequence
from itertools import pairwise

from thumbq.render.repair.shift import Point

# Up to here the renderer's own cutting is quick.
MOST_CORNERS = 64
# Looks at a point, for all faces of a model: some seconds.
MOST_LOOKS = 5_000_000

Corner = tuple[int, int, int]
Flat = tuple[float, float]
Triangle = tuple[int, int, int]


class Places:
    """Where the points of a model lie; they are kept only for a model that has faces to cut."""

    def __init__(self, *, needed: bool, most_corners: int = MOST_CORNERS) -> None:
        self._needed = needed
        self._most_corners = most_corners
        self._looks = MOST_LOOKS
        self._values = array("d")

    def keep(self, point: Sequence[float]) -> None:
        """Keep the next point."""
        if self._needed:
            self._values.extend(point[:3])

    def keep_all(self, text: bytes) -> None:
        """Keep the points of plain OBJ lines."""
        if self._needed:
            self._values.extend(float(word) for word in text.split() if word != b"v")

    def simple_polygons(self, corners: Sequence[Corner]) -> Iterator[Sequence[Corner]]:
        """Yield the face itself, or the triangles of one that has very many corners; a corner begins with its point."""
        if len(corners) <= self._most_corners:
            yield corners
            return
        try:
            points = [self._point(corner[0]) for corner in corners]
        except IndexError:
            # The points come after the face, as in few files.
            points = [(0.0, 0.0, 0.0)] * len(corners)
        triangles, looks = triangles_of(points, self._looks)
        self._looks -= looks
        for triangle in triangles:
            yield [corners[place] for place in triangle]

    def _point(self, number: int) -> Point:
        start = 3 * (number - 1)
        return self._values[start], self._values[start + 1], self._values[start + 2]


def triangles_of(points: Sequence[Point], most_looks: int) -> tuple[list[Triangle], int]:
    """Return the triangles of a face, as places in the list of its corners, and how many looks they took."""
    flat = _flattened(points)
    rest = list(range(len(points)))
    triangles: list[Triangle] = []
    looks, place, failed = 0, 0, 0
    while len(rest) > 3 and failed < len(rest) and looks < most_looks:
        before, here, after = rest[place - 1], rest[place], rest[(place + 1) % len(rest)]
        convex = _turn(flat[before], flat[here], flat[after]) >= 0
        looks += len(rest) if convex else 1
        if convex and _is_ear(flat, before, here, after, rest):
            triangles.append((before, here, after))
            del rest[place]
            failed = 0
        else:
            place, failed = place + 1, failed + 1
        place %= len(rest)
    return triangles + [(rest[0], second, third) for second, third in pairwise(rest[1:])], looks


def _is_ear(flat: Sequence[Flat], before: int, here: int, after: int, rest: Sequence[int]) -> bool:
    a, b, c = flat[before], flat[here], flat[after]
    return not any(
        _turn(a, b, flat[other]) >= 0 and _turn(b, c, flat[other]) >= 0 and _turn(c, a, flat[other]) >= 0
        for other in rest
        if flat[other] not in (a, b, c)
    )


def _flattened(points: Sequence[Point]) -> list[Flat]:
    """Return the corners in the plane that the face lies in, going round to the left."""
    x = y = z = 0.0
    for (ax, ay, az), (bx, by, bz) in zip(points, [*points[1:], points[0]], strict=True):
        x += (ay - by) * (az + bz)
        y += (az - bz) * (ax + bx)
        z += (ax - bx) * (ay + by)
    axis = max(range(3), key=lambda number: abs((x, y, z)[number]))
    first, second = ((1, 2), (2, 0), (0, 1))[axis]
    left = 1.0 if (x, y, z)[axis] >= 0 else -1.0
    return [(point[first], left * point[second]) for point in points]


def _turn(a: Flat, b: Flat, c: Flat) -> float:
    return (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])
