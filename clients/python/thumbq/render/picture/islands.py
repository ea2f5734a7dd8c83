"""Finds the islands of a small drawing: groups of visible pixels that touch."""

from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image

# Edges as shares of the drawing: left, top, right, bottom.
Box = tuple[float, float, float, float]

# Pixels of a cell. Visible pixels in cells that touch form one island.
CELL = 4


@dataclass(frozen=True, slots=True)
class Island:
    """The box around an island, and its pixels: 0 where only the dots of corners are visible."""

    box: Box
    pixels: int

    def touches(self, other: "Island") -> bool:
        """Return whether the boxes meet."""
        across = self.box[0] <= other.box[2] and other.box[0] <= self.box[2]
        return across and self.box[1] <= other.box[3] and other.box[1] <= self.box[3]


def find_islands(visible: Image.Image) -> list[Island]:
    """Return the islands of a square mask that is 255 where something is visible."""
    if not visible.getbbox():
        return []
    side = visible.width // CELL
    unreached = {index for index, value in enumerate(visible.reduce(CELL).tobytes()) if value}
    islands = []
    while unreached:
        reached = [unreached.pop()]
        for index in reached:
            neighbours = _neighbours(index, side) & unreached
            unreached -= neighbours
            reached += neighbours
        islands.append(_island(reached, visible, side))
    return islands


def box_around(islands: Sequence[Island]) -> Box:
    """Return the box that holds all islands."""
    lefts, tops, rights, bottoms = zip(*(island.box for island in islands), strict=True)
    return min(lefts), min(tops), max(rights), max(bottoms)


def _neighbours(index: int, side: int) -> set[int]:
    row, column = divmod(index, side)
    return {
        r * side + c
        for r in (row - 1, row, row + 1)
        for c in (column - 1, column, column + 1)
        if 0 <= r < side and 0 <= c < side
    }


def _island(cells: Sequence[int], visible: Image.Image, side: int) -> Island:
    mask = Image.new("L", (side, side))
    for index in cells:
        mask.putpixel((index % side, index // side), 255)
    alone = Image.composite(visible, Image.new("L", visible.size), mask.resize(visible.size, Image.Resampling.NEAREST))
    box = alone.getbbox()
    assert box is not None
    left, top, right, bottom = (edge / visible.width for edge in box)
    return Island((left, top, right, bottom), sum(alone.histogram()[1:]))
