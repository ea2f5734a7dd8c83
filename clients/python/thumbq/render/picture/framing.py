"""Finds the part of a scene that the picture shows: what holds 99.9 % of the visible surface.

A point that lies far away makes the bounds of a model huge, and the model itself may be smaller than a pixel in them.
So the frame is found by looking: draw small, find the islands of visible pixels, look closer at each, and leave out
the ones that hold next to nothing.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

from PIL import Image

Vector = tuple[float, float, float]
Box = tuple[float, float, float, float]

# Pixels of the small drawings, and of the cells in which islands are told apart.
SIZE, CELL = 192, 4
FILLED = (0.85, 0.95)
WANTED = 0.9
ROUNDS = 12
WHOLE: Box = (0.0, 0.0, 1.0, 1.0)

# Share of the surface that may lie outside of the picture.
LEFT_OUT = 0.001
# Islands are weighed when they cover less than this share of the box around them, and are not more than this many.
SPARSE, MOST_ISLANDS = 0.1, 24
# An island of fewer pixels is looked at more closely.
FEW_PIXELS = 150
CLOSER_LOOKS = 4


class NothingToSee(Exception):
    """Nothing is visible, however closely one looks."""


@dataclass(frozen=True, slots=True)
class Frame:
    """A square in space: its centre, its two directions, and how wide it is."""

    centre: Vector
    right: Vector
    up: Vector
    width: float

    def around(self, box: Box, filled: float = WANTED) -> "Frame":
        """The frame that a box in this one fills; the box is in shares of it, from the top left."""
        left, top, right, bottom = box
        across, above = self.width * ((left + right) / 2 - 0.5), self.width * (0.5 - (top + bottom) / 2)
        x, y, z = (self.centre[k] + across * self.right[k] + above * self.up[k] for k in range(3))
        width = self.width * max(right - left, bottom - top, 1e-9) / filled
        return replace(self, centre=(x, y, z), width=width)


# How a frame looks, drawn SIZE pixels square: 255 where something is visible.
Look = Callable[[Frame], Image.Image]


@dataclass(frozen=True, slots=True)
class Island:
    """Visible pixels that touch: the box around them, in shares of the frame, and their number."""

    box: Box
    pixels: float


def find_frame(start: Frame, look: Look, dots: Look, filled: float = WANTED) -> Frame:
    """The frame of which the model fills a share, seen from where `start` is seen; raises NothingToSee.

    `dots` marks every corner of the model, however small the model is in the frame.
    """
    frame, box = start, WHOLE
    for _ in range(ROUNDS):
        islands = _islands_of(frame, look, dots)
        if not islands:
            raise NothingToSee
        box = _around(_holding_the_surface(islands, frame, look, dots))
        left, top, right, bottom = box
        centred = abs(left + right - 1) < 0.02 and abs(top + bottom - 1) < 0.02
        if centred and FILLED[0] < max(right - left, bottom - top) < FILLED[1]:
            break
        frame = frame.around(box)
    return frame.around(box, filled)


def _islands_of(frame: Frame, look: Look, dots: Look) -> list[Island]:
    visible = look(frame)
    islands = find_islands(visible)
    if sum(island.pixels for island in islands) < FEW_PIXELS:
        unseen = [island for island in find_islands(dots(frame)) if not _covered(island, islands)]
        islands += [Island(island.box, 0) for island in unseen]
    return islands


def _covered(island: Island, others: list[Island]) -> bool:
    left, top, right, bottom = island.box
    x, y = (left + right) / 2, (top + bottom) / 2
    return any(o.box[0] <= x <= o.box[2] and o.box[1] <= y <= o.box[3] for o in others)


def _holding_the_surface(islands: list[Island], frame: Frame, look: Look, dots: Look) -> list[Island]:
    """The islands without those that together hold less than `LEFT_OUT` of the surface."""
    if not 1 < len(islands) <= MOST_ISLANDS:
        return islands
    left, top, right, bottom = _around(islands)
    if sum(island.pixels for island in islands) > SPARSE * (right - left) * (bottom - top) * SIZE**2:
        return islands
    weighed = sorted(((_surface(island, frame, look, dots), island) for island in islands), key=lambda pair: pair[0])
    spare = LEFT_OUT * sum(surface for surface, _ in weighed)
    kept = []
    for surface, island in weighed:
        spare -= surface
        if spare < 0:
            kept.append(island)
    return kept or islands


def _surface(island: Island, frame: Frame, look: Look, dots: Look) -> float:
    """How much is visible of an island, in pixels of `frame`, measured from close by when it is small."""
    if island.pixels >= FEW_PIXELS:
        return island.pixels
    closer = frame
    box, pixels = island.box, island.pixels
    for _ in range(CLOSER_LOOKS):
        closer = closer.around(box)
        inside = find_islands(look(closer))
        pixels = sum(part.pixels for part in inside)
        if pixels >= FEW_PIXELS:
            break
        inside = inside or find_islands(dots(closer))
        if not inside:
            break
        box = max(inside, key=lambda part: part.pixels).box
    return pixels * (closer.width / frame.width) ** 2


def find_islands(visible: Image.Image) -> list[Island]:
    """The islands of a small drawing, found in cells of a few pixels."""
    if not visible.getbbox():
        return []
    side = visible.width // CELL
    cells = visible.reduce(CELL).tobytes()
    left_over = {index for index, value in enumerate(cells) if value}
    islands = []
    while left_over:
        reached = [left_over.pop()]
        for index in reached:
            neighbours = _neighbours(index, side) & left_over
            left_over -= neighbours
            reached += neighbours
        islands.append(_island(reached, visible, side))
    return islands


def _neighbours(index: int, side: int) -> set[int]:
    row, column = divmod(index, side)
    return {
        r * side + c
        for r in (row - 1, row, row + 1)
        for c in (column - 1, column, column + 1)
        if 0 <= r < side and 0 <= c < side
    }


def _island(cells: list[int], visible: Image.Image, side: int) -> Island:
    mask = Image.new("L", (side, side))
    for index in cells:
        mask.putpixel((index % side, index // side), 255)
    alone = Image.composite(visible, Image.new("L", visible.size), mask.resize(visible.size, Image.Resampling.NEAREST))
    box = alone.getbbox()
    assert box is not None
    left, top, right, bottom = (edge / visible.width for edge in box)
    return Island((left, top, right, bottom), sum(alone.histogram()[1:]))


def _around(islands: list[Island]) -> Box:
    lefts, tops, rights, bottoms = zip(*(island.box for island in islands), strict=True)
    return min(lefts), min(tops), max(rights), max(bottoms)


def unit(vector: Vector) -> Vector:
    """The vector of length 1 in the same direction."""
    length = math.hypot(*vector)
    return vector[0] / length, vector[1] / length, vector[2] / length
