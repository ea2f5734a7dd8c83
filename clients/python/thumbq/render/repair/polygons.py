"""Faces that the renderer would take too long to cut into triangles: those of many corners are cut here."""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import TypeVar

Corner = TypeVar("Corner")

# Up to here the renderer's own cutting is quick, and better for faces that are not convex.
MOST_CORNERS = 64


def simple_polygons(corners: Sequence[Corner]) -> Iterator[Sequence[Corner]]:
    """The face itself, or a fan of triangles instead of one that has very many corners."""
    if len(corners) <= MOST_CORNERS:
        yield corners
        return
    first = corners[0]
    for second, third in pairwise(corners[1:]):
        yield first, second, third
