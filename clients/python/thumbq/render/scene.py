"""Draws one picture of a model with f3d; runs in the renderer's own process (see `process.py`)."""

import io
import math
import os
import re
from pathlib import Path

import f3d
from PIL import Image, ImageChops, ImageFilter, ImageMath

from thumbq.render.light import STUDIO
from thumbq.render.renderer import SIZE

MARGIN = 0.05

Box = tuple[int, int, int, int]

# Drawn at twice the size and scaled down, which smooths edges and transparency alike. Ambient occlusion is by
# far the dearest step and has no fine detail, so it is taken from two small drawings and multiplied in.
DRAWN = 2 * SIZE
OCCLUSION = 384
FITTING = 192

# Right of the front and a little above.
AZIMUTH, HEIGHT = math.radians(30), math.radians(22)
VIEW_ANGLE = 30.0
PLAIN = (0.66, 0.72, 0.80)
Z_UP = ("stl", "step")


class CannotDraw(Exception):
    """The model is at fault; the message says why in one sentence."""


class Studio:
    """A camera and its light, set up once for many models."""

    def __init__(self, log: int) -> None:
        """`log` is the file descriptor that receives what f3d writes."""
        self._log = log
        f3d.Log.set_use_coloring(False)
        f3d.Log.set_verbose_level(f3d.Log.WARN)
        self._engine = f3d.Engine.create_egl()
        self._engine.window.set_use_hdri_cache(False)
        self._options = self._engine.options
        self._options.update(
            {
                "render.hdri.ambient": True,
                "render.hdri.file": str(STUDIO),
                "render.light.intensity": 0.4,
                "render.effect.tone_mapping": True,
                "ui.loader_progress": False,
            }
        )

    def draw(self, model: Path, model_format: str) -> bytes:
        """A WebP picture of `model`, `SIZE` pixels square, on a transparent ground."""
        self._load(model, model_format)
        self._aim(model_format in Z_UP)
        self._fit(model_format)
        color, box = self._shot(DRAWN)
        assert box is not None
        shade = self._shade().resize(color.size, Image.Resampling.BICUBIC)
        alpha = color.getchannel("A")
        color = ImageChops.multiply(color.convert("RGB"), Image.merge("RGB", (shade, shade, shade)))
        color.putalpha(alpha)
        picture = color.crop(_square(box)).resize((SIZE, SIZE), Image.Resampling.LANCZOS)
        content = io.BytesIO()
        picture.save(content, "WEBP", quality=90, method=4)
        return content.getvalue()

    def _load(self, model: Path, model_format: str) -> None:
        options, scene = self._options, self._engine.scene
        scene.clear()
        options["scene.up_direction"] = [0.0, 0.0, 1.0] if model_format in Z_UP else [0.0, 1.0, 0.0]
        options["model.coloring"] = "direct" if model_format == "step" else "material"
        if _without_materials(model, model_format):
            options["model.color.rgb"] = PLAIN
        else:
            options.remove_value("model.color.rgb")
        # f3d's own check knows only binary FBX, though its reader knows both kinds.
        options["scene.skip_content_check"] = model_format == "fbx"
        os.ftruncate(self._log, 0)
        os.lseek(self._log, 0, os.SEEK_SET)
        f3d.Log.set_verbose_level(f3d.Log.DEBUG)  # the readers' errors are written at this level only
        try:
            scene.add(model)
        except RuntimeError as error:
            raise CannotDraw(
                f"The {model_format.upper()} file is damaged or incomplete{_cause(error, self._log)}."
            ) from error
        finally:
            f3d.Log.set_verbose_level(f3d.Log.WARN)

    def _aim(self, z_up: bool) -> None:
        level = math.cos(HEIGHT)
        x, y, z = math.sin(AZIMUTH) * level, math.sin(HEIGHT), math.cos(AZIMUTH) * level
        camera = self._engine.window.camera
        camera.view_angle = VIEW_ANGLE
        camera.focal_point = (0.0, 0.0, 0.0)
        camera.position = (x, -z, y) if z_up else (x, y, z)
        camera.view_up = (0.0, 0.0, 1.0) if z_up else (0.0, 1.0, 0.0)
        # Which rounds to the pixels of the window.
        self._engine.window.size = (FITTING, FITTING)
        camera.reset_to_bounds(0.9)

    def _fit(self, model_format: str) -> None:
        """Move and zoom until what is visible, not its bounding box, fills the frame."""
        camera = self._engine.window.camera
        for _ in range(4):
            _, box = self._shot(FITTING)
            if box is None:
                raise CannotDraw(f"The {model_format.upper()} file has nothing to see in it.")
            left, top, right, bottom = (edge / FITTING for edge in box)
            filled = max(right - left, bottom - top)
            centred = abs(left + right - 1) < 0.02 and abs(top + bottom - 1) < 0.02
            if centred and 0.85 < filled < 0.95:
                return
            height = 2 * math.dist(camera.position, camera.focal_point)
            height *= math.tan(math.radians(camera.view_angle / 2))
            camera.pan(height * ((left + right) / 2 - 0.5), height * (0.5 - (top + bottom) / 2))
            camera.zoom(0.9 / filled)

    def _shade(self) -> Image.Image:
        """How much ambient occlusion darkens each place: 255 is not at all."""
        plain, _ = self._shot(OCCLUSION)
        self._options["render.effect.ambient_occlusion"] = True
        try:
            occluded, _ = self._shot(OCCLUSION)
        finally:
            self._options["render.effect.ambient_occlusion"] = False
        shade: Image.Image = ImageMath.lambda_eval(
            lambda a: a["convert"]((a["occluded"] + 4) * 255 / (a["plain"] + 4), "L"),
            plain=plain.convert("L"),
            occluded=occluded.convert("L"),
        )
        return shade.filter(ImageFilter.MedianFilter(3)).filter(ImageFilter.GaussianBlur(1.5))

    def _shot(self, size: int) -> tuple[Image.Image, Box | None]:
        """A drawing and the box around what is visible in it."""
        window = self._engine.window
        window.size = (size, size)
        drawn = window.render_to_image(no_background=True)
        image = Image.frombuffer("RGBA", (size, size), drawn.content, "raw", "RGBA", 0, -1)
        return image, image.getchannel("A").point(lambda alpha: 255 if alpha > 8 else 0).getbbox()


def _square(box: Box) -> Box:
    left, top, right, bottom = box
    side = round(max(right - left, bottom - top) * (1 + 2 * MARGIN))
    x, y = (left + right - side) // 2, (top + bottom - side) // 2
    return x, y, x + side, y + side


def _without_materials(model: Path, model_format: str) -> bool:
    if model_format == "obj":
        return b"mtllib" not in model.read_bytes()
    return model_format in Z_UP


def _cause(error: RuntimeError, log: int) -> str:
    """The first thing that a reader complained of, to be put at the end of a sentence."""
    text = os.pread(log, 65536, 0).decode(errors="replace")
    if "unsupported content" in str(error):
        return ", or its content is of another kind"
    if complaint := re.search(r"ERROR: .*\n\w+ \(0x[0-9a-f]+\): (.+)", text):
        # Without the folders of this machine.
        words = re.sub(r'"?/[^\s"]*/([^\s"/]+)"?', r"\1", complaint[1]).strip(" .")
        return f" ({words[:200]})"
    return ""
