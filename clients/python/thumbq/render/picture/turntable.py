"""Chooses one frame for a model that turns, so that it neither leaves the picture nor jumps in it."""

import math
from collections.abc import Callable
from dataclasses import replace

from PIL import Image

from thumbq.render.picture.view import View

# Sides that the search looks from, and its rounds.
SIDES, ROUNDS = 12, 3
FILLED = 0.92


def turntable(view: View, look: Callable[[View], Image.Image]) -> View:
    """Return the view whose frame holds the model from every side; the model turns about the frame's centre."""
    for _ in range(ROUNDS):
        boxes = [box for side in view.turned(SIDES) if (box := look(side).getbbox())]
        size = look(view).width
        aside = max(max(abs(edge / size - 0.5) for edge in (box[0], box[2])) for box in boxes)
        top, bottom = min(box[1] for box in boxes) / size, max(box[3] for box in boxes) / size
        vertical = view.axes[1]
        rise = view.frame.width * (0.5 - (top + bottom) / 2) / max(0.2, math.cos(math.radians(view.height)))
        x, y, z = (view.frame.centre[k] + rise * vertical[k] for k in range(3))
        width = view.frame.width * max(2 * aside, bottom - top) / FILLED
        view = view.framed(replace(view.frame, centre=(x, y, z), width=width))
    return view
