"""The look of a model: colours, shading, and the width of points and lines."""

import math
import mmap
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import f3d

from thumbq.render.formats import FORMATS
from thumbq.render.picture.light import STUDIO
from thumbq.render.picture.view import AXES

PLAIN, PLAIN_POINTS = (0.66, 0.72, 0.80), (0.42, 0.53, 0.68)
# Formats whose colours are a part of the geometry, if they have any.
COLORED_GEOMETRY = frozenset({"step", "iges", "brep", "stl", "ply", "pts", "splat"})
# The readers of these name the colours of their points so.
SCANS, SCAN_COLORS = frozenset({"las", "pcd", "ptx"}), "NormalizedColor"
# Words in files that have colours. The readers make files without them white.
COLORS_SAID_BY = {
    "obj": re.compile(rb"\bmtllib\b"),
    "step": re.compile(rb"\bCOLOUR_RGB\b|_COLOUR\b"),
    "iges": re.compile(rb"^ {5}314", re.MULTILINE),
}
NEVER_COLORED = frozenset({"brep", "off"})

# Widths as shares of the picture's width. Few points are drawn larger than many.
LINE, CAD_LINE = 1 / 150, 1 / 1024
POINT, LEAST_POINT, MOST_POINT = 0.45, 1 / 220, 1 / 36
THICKER = 2.0
# A point that marks a corner, in thousandths of the frame.
DOT = 12.0


class Looks:
    """Sets f3d's options for each model."""

    def __init__(self, options: f3d.Options) -> None:
        self._options = options
        self._thickness = 1.0
        self._line = LINE
        self._point = MOST_POINT
        options.update(
            {
                "render.hdri.ambient": True,
                "render.hdri.file": str(STUDIO),
                "render.light.intensity": 0.4,
                "render.effect.tone_mapping": True,
                # Nothing of the ground is left in translucent pixels.
                "render.background.color": [0.0, 0.0, 0.0],
                # f3d's own check knows fewer spellings than its readers; the intake has looked at the content.
                "scene.skip_content_check": True,
                "ui.loader_progress": False,
            }
        )

    def prepare(self, model: Path, model_format: str, up: str) -> None:
        """Choose the colours and the up axis before a model is loaded."""
        options = self._options
        options["scene.up_direction"] = list(AXES[up][1])
        geometry = model_format in COLORED_GEOMETRY or FORMATS[model_format].kind == "points"
        colored = _has_colors(model, model_format)
        options["model.coloring"] = "direct" if geometry and colored else "material"
        self._set("model.color.rgb", PLAIN if geometry or not colored else None)
        self._set("model.scivis.array_name", SCAN_COLORS if model_format in SCANS else None)
        self._thickness = 1.0
        # The lines of a CAD model are the edges of its surfaces.
        self._line = CAD_LINE if FORMATS[model_format].kind == "cad" else LINE

    def _set(self, option: str, value: tuple[float, float, float] | str | None) -> None:
        if value is None:
            self._options.remove_value(option)
        else:
            self._options[option] = value

    def fit_points(self, count: int, is_cloud: bool) -> None:
        """Choose the size of points. A cloud without colours becomes darker, because points have no shading."""
        if is_cloud and self._options.has_value("model.color.rgb"):
            self._options["model.color.rgb"] = PLAIN_POINTS
        self._point = min(MOST_POINT, max(LEAST_POINT, POINT / math.sqrt(count or 1)))

    def thicken(self) -> None:
        """Draw lines and points wider, so that even a few are visible."""
        self._thickness = THICKER

    def scale_to(self, size: int) -> None:
        """Keep lines and points equally wide in pictures of every size."""
        self._options["render.line_width"] = max(1.0, self._line * self._thickness * size)
        self._options["render.point_size"] = max(1.0, self._point * self._thickness * size)

    @contextmanager
    def occlusion(self) -> Iterator[None]:
        """Switch ambient occlusion on, which darkens corners."""
        self._options["render.effect.ambient_occlusion"] = True
        try:
            yield
        finally:
            self._options["render.effect.ambient_occlusion"] = False

    @contextmanager
    def dots(self, share_of_scene: float) -> Iterator[None]:
        """Draw dots at the corners instead of surfaces; `share_of_scene` tells how narrow the frame is."""
        self._options["model.point_sprites.type"] = "circle"
        self._options["model.point_sprites.size"] = DOT * share_of_scene
        try:
            yield
        finally:
            self._options["model.point_sprites.type"] = "none"


def _has_colors(model: Path, model_format: str) -> bool:
    """Whether the file may have colours of its own."""
    if model_format not in COLORS_SAID_BY:
        return model_format not in NEVER_COLORED
    with model.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return COLORS_SAID_BY[model_format].search(content) is not None
