"""Draws a model with f3d; runs in the renderer's own process (see `process.py`)."""

import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import f3d
from PIL import Image

from thumbq.render.formats import FORMATS
from thumbq.render.outputs import CAMERAS, DEFAULT_CAMERA, Camera, Outputs
from thumbq.render.picture import framing, ground
from thumbq.render.picture.encoding import encode
from thumbq.render.picture.looks import Looks
from thumbq.render.picture.measure import LEAST_SEEN, visible_share
from thumbq.render.picture.reasons import reason
from thumbq.render.picture.shots import Shots
from thumbq.render.picture.turntable import turntable
from thumbq.render.picture.view import View

# The end of a longer log is not read: the first complaints are those that count.
LONGEST_LOG = 1 << 16


# A picture with less in it than this is drawn again with thick edges, lines and points.
THIN = 3 * LEAST_SEEN
# Cameras that are tried when nothing is visible from the chosen one.
FALLBACKS = (DEFAULT_CAMERA, "iso")


class CannotDraw(Exception):
    """The model cannot be drawn; the message says why in one sentence."""


@dataclass(slots=True)
class Drawing:
    """The pictures of one model, a file each, and the processor seconds of every stage."""

    pictures: list[bytes] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Add the processor time of the block to a stage."""
        started = time.process_time()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.process_time() - started


class Studio:
    """A camera and its light, set up once for many models."""

    def __init__(self, log: int) -> None:
        """`log` is the file descriptor that receives what f3d writes."""
        self._log = log
        f3d.Log.set_use_coloring(False)
        f3d.Log.set_verbose_level(f3d.Log.WARN)
        self._engine = f3d.Engine.create_egl()
        self._engine.window.set_use_hdri_cache(False)
        self._looks = Looks(self._engine.options)
        self._shots = Shots(self._engine, self._looks)

    def draw(self, model: Path, model_format: str, outputs: Outputs) -> Drawing:
        """Draw `model`; raises CannotDraw."""
        drawing = Drawing()
        with drawing.stage("load"):
            up = outputs.up_of(model_format)
            self._load(model, model_format, up)
        frames = self._visible_frames(drawing, up, outputs)
        if not frames:
            raise CannotDraw(f"The {FORMATS[model_format].name} file has nothing to see in it.")
        with drawing.stage("encode"):
            for size in outputs.sizes:
                sized = [ground.on_ground(_scaled(frame, size), outputs.color) for frame in frames]
                drawing.pictures.append(encode(sized, outputs.encoding))
        return drawing

    def _load(self, model: Path, model_format: str, up: str) -> None:
        scene = self._engine.scene
        scene.clear()
        self._looks.prepare(model, model_format, up)
        os.ftruncate(self._log, 0)
        os.lseek(self._log, 0, os.SEEK_SET)
        f3d.Log.set_verbose_level(f3d.Log.DEBUG)  # the readers' errors are written at this level only
        try:
            scene.add(model)
        except RuntimeError as error:
            raise CannotDraw(reason(FORMATS[model_format].name, model_format, self._said())) from error
        finally:
            f3d.Log.set_verbose_level(f3d.Log.WARN)
        self._shots.is_cloud = _is_cloud(self._said())
        self._looks.fit_points(scene.get_scene_info().number_of_points, self._shots.is_cloud)

    def _said(self) -> str:
        """Return the log of f3d and its readers about this model."""
        return os.pread(self._log, LONGEST_LOG, 0).decode(errors="replace")

    def _visible_frames(self, drawing: Drawing, up: str, outputs: Outputs) -> list[Image.Image]:
        """Return the pictures of all frames; none when too little is visible from every side."""
        # The chosen camera may see a flat model from its edge.
        for name in dict.fromkeys((outputs.camera, *FALLBACKS)):
            with suppress(framing.NothingToSee):
                with drawing.stage("frame"):
                    view = self._find_view(CAMERAS[name], up, outputs)
                with drawing.stage("draw"):
                    return self._frames(view, outputs)
        return []

    def _find_view(self, camera: Camera, up: str, outputs: Outputs) -> View:
        view = self._shots.whole_scene(up, camera, outputs.front)
        view = framing.find_frame(view, self._shots, camera.filled)
        return turntable(view, self._shots.visible) if outputs.frames > 1 else view

    def _frames(self, view: View, outputs: Outputs) -> list[Image.Image]:
        """Return the picture of every frame with its halo; raises NothingToSee when too little is visible."""
        views, size, grounds = view.turned(outputs.frames), max(outputs.sizes), ground.grounds_of(outputs.color)
        pictures = self._shots.pictures(views, size)
        if visible_share(pictures[0]) < THIN:
            pictures = self._shots.thick_pictures(views, size)
        if visible_share(pictures[0]) >= LEAST_SEEN:
            pictures = [ground.set_off(picture, grounds) for picture in pictures]
            if ground.can_be_seen(pictures[0], grounds):
                return pictures
        raise framing.NothingToSee


def _is_cloud(said: str) -> bool:
    """Return whether f3d counted neither polygons nor lines in the model."""
    counted = re.findall(r"Number of (?:polygons|lines): (\d+)", said)
    return bool(counted) and not any(map(int, counted))


def _scaled(picture: Image.Image, size: int) -> Image.Image:
    return picture if picture.width == size else picture.resize((size, size), Image.Resampling.LANCZOS)
