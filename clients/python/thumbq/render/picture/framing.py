"""Finds the frame of a picture: it holds 99.9 % of the visible surface.

One far point makes the bounds of a model huge. The model itself may then be smaller than a pixel. So the search draws
the scene small, finds the islands of visible pixels, looks closer at each, and leaves out those without much surface.
"""

from dataclasses import replace
from typing import Protocol

from PIL import Image

from thumbq.render.picture.islands import Box, Island, box_around, find_islands
from thumbq.render.picture.view import View, moved

# Pixels of the small drawings.
SIZE = 192
ROUNDS, WANTED, FILLED = 12, 0.9, (0.85, 0.95)
# The frame never becomes smaller than this share of the scene.
SMALLEST = 1e-7

# Share of the surface that may lie outside of the picture.
LEFT_OUT = 0.001
# Islands are weighed when they cover less than this share of the box around them, and are not more than this many.
SPARSE, MOST_ISLANDS = 0.1, 48
# An island of fewer pixels is looked at more closely before it is weighed.
FEW_PIXELS, CLOSER_LOOKS = 150, 5


class NothingToSee(Exception):
    """Nothing is visible, however closely one looks."""


class Sight(Protocol):
    """Draws a view small, SIZE pixels square: 255 where something is visible."""

    # Whether the model consists of points only; their number then takes the place of the surface.
    is_cloud: bool

    def visible(self, view: View, thicker: float = 1.0) -> Image.Image:
        """Draw surfaces, points and lines. Points and lines are drawn `thicker` times as wide as usual."""

    def dots(self, view: View) -> Image.Image:
        """Draw a dot at every corner of the model, however small the model is in this view."""


def find_frame(start: View, sight: Sight, filled: float = WANTED) -> View:
    """Return the view, from the side of `start`, in which the model fills a share; raises NothingToSee."""
    view = start
    for turn in range(ROUNDS):
        islands = _islands(view, sight)
        if not islands:
            raise NothingToSee
        if turn == 0 and _is_sparse(islands):
            view = _located(start, sight)
            continue
        box = box_around(islands)
        if _fits(box) or view.frame.width < SMALLEST * start.frame.width:
            if not any(island.pixels for island in islands):
                break
            return view.around(box, filled)
        view = view.around(box, WANTED)
    if not find_islands(sight.visible(view)):
        raise NothingToSee
    return view


def _fits(box: Box) -> bool:
    left, top, right, bottom = box
    centred = abs(left + right - 1) < 0.02 and abs(top + bottom - 1) < 0.02
    return centred and FILLED[0] < max(right - left, bottom - top) < FILLED[1]


def _islands(view: View, sight: Sight) -> list[Island]:
    """Return the visible islands, and also the corners when hardly anything is visible."""
    islands = find_islands(sight.visible(view))
    if sum(island.pixels for island in islands) < FEW_PIXELS:
        dots = find_islands(sight.dots(view))
        islands += [replace(dot, pixels=0) for dot in dots if not any(dot.touches(island) for island in islands)]
    return islands


def _is_sparse(islands: list[Island]) -> bool:
    if not 1 < len(islands) <= MOST_ISLANDS:
        return False
    left, top, right, bottom = box_around(islands)
    return sum(island.pixels for island in islands) < SPARSE * (right - left) * (bottom - top) * SIZE**2


def _located(start: View, sight: Sight) -> View:
    """Return a view whose frame has the surface in its middle, also in depth.

    The search looks from the front and from a side. It looks from far away, where near and far have the same size.
    """
    front = _closest(start.far_away(), sight)
    aside = front.from_aside(start.frame.width)
    aside = _closest(aside, sight, front.frame.width / aside.frame.width)
    depth = sum((a - b) * t for a, b, t in zip(aside.frame.centre, front.frame.centre, start.towards, strict=True))
    centre = moved(front.frame.centre, start.towards, depth)
    # Nearby parts look larger from the start than from far away.
    return start.framed(replace(start.frame, centre=centre, width=1.5 * front.frame.width))


def _closest(view: View, sight: Sight, band: float = 1.0) -> View:
    """Return the view that is close to the surface; only islands in a band across the middle count."""
    low, high = 0.5 - band / 2 - 0.02, 0.5 + band / 2 + 0.02
    for _ in range(ROUNDS):
        islands = [island for island in _islands(view, sight) if low < island.box[3] and island.box[1] < high]
        if not islands:
            raise NothingToSee
        box = box_around(_holding_the_surface(islands, view, sight))
        filled = max(box[2] - box[0], box[3] - box[1])
        view = view.around(box, WANTED if filled > 0.5 else 0.7)
        low, high = 0.0, 1.0
        if filled > 0.5:
            break
    return view


def _holding_the_surface(islands: list[Island], view: View, sight: Sight) -> list[Island]:
    """Return the islands without the smallest ones, which together hold less than `LEFT_OUT` of the surface."""
    if not _is_sparse(islands):
        return islands
    weigh = _points if sight.is_cloud else _surface
    weighed = sorted(((weigh(island, view, sight), island) for island in islands), key=lambda pair: pair[0])
    spare = LEFT_OUT * sum(surface for surface, _ in weighed)
    kept = []
    for surface, island in weighed:
        spare -= surface
        if spare < 0:
            kept.append(island)
    return kept or islands


def _points(island: Island, view: View, sight: Sight) -> float:
    """Return how many pixels the points of an island cover when it fills the frame."""
    closer, box, inside = view, island.box, [island]
    for _ in range(CLOSER_LOOKS):
        closer = closer.around(box, 0.7)
        inside = find_islands(sight.visible(closer))
        if not inside:
            break
        box = box_around(inside)
        if max(box[2] - box[0], box[3] - box[1]) > 0.5:
            break
    return sum(part.pixels for part in inside)


def _surface(island: Island, view: View, sight: Sight) -> float:
    """Return the visible surface of an island in pixels of `view`, measured from close by when it is small."""
    if island.pixels >= FEW_PIXELS:
        return island.pixels
    closer, box, pixels = view, island.box, island.pixels
    for _ in range(CLOSER_LOOKS):
        closer = closer.around(box, 0.7)
        # Points and lines keep their size in space here, as surfaces do.
        inside = find_islands(sight.visible(closer, view.frame.width / closer.frame.width))
        pixels = sum(part.pixels for part in inside)
        if pixels >= FEW_PIXELS:
            break
        inside = inside or find_islands(sight.dots(closer))
        if not inside:
            break
        box = max(inside, key=lambda part: part.pixels).box
    return pixels * (closer.frame.width / view.frame.width) ** 2
