"""Coordinates far from their origin, as in surveys: the renderer's single precision would lose their shape.

A model that lies many times its size away from the origin is moved to its middle, in double precision. A sample of
its points decides, so that one stray point does not.
"""

from collections.abc import Iterable, Sequence
from statistics import median

Point = tuple[float, float, float]

SAMPLE = 2000
# Single precision keeps seven digits: at this distance a thousandth of the size is left of them.
FAR = 1000.0


def shift_of(points: Iterable[Point]) -> Point:
    """Return what to subtract from every point: the middle of a model that is far away, else nothing."""
    axes = [sorted(axis) for axis in zip(*points, strict=True)]
    if not axes:
        return (0.0, 0.0, 0.0)
    size = max(_spread(axis) for axis in axes) or max(axis[-1] - axis[0] for axis in axes)
    middle = [float(median(axis)) for axis in axes]
    far = max(map(abs, middle))
    if far <= FAR * size:
        return (0.0, 0.0, 0.0)
    x, y, z = middle
    return (x, y, z)


def _spread(ordered: Sequence[float]) -> float:
    """How far the middle nine tenths of the values reach."""
    edge = len(ordered) // 20
    return ordered[-1 - edge] - ordered[edge]
