"""Draws the pictures: small ones for the search for the frame, and large ones for the result."""

from collections.abc import Sequence

import f3d
from PIL import Image, ImageChops, ImageFilter, ImageMath

from thumbq.render.outputs import Camera
from thumbq.render.picture import framing
from thumbq.render.picture.looks import Looks
from thumbq.render.picture.pixels import Pixels
from thumbq.render.picture.view import View, whole_scene

# Ambient occlusion costs most and has no fine detail, so it is taken from two small drawings.
OCCLUSION, LEAST_OCCLUSION = 384, 192
# In a frame below this share of the scene, the occlusion would be too coarse.
CLOSE = 1 / 40
VISIBLE, MOST_THICKER = 8, 100.0
RIM = 128


class Shots:
    """A camera in a scene. Results are drawn at twice their size, which smooths edges and transparency alike."""

    def __init__(self, engine: f3d.Engine, looks: Looks) -> None:
        self._window = engine.window
        self._looks = looks
        self.is_cloud = False
        triangle = f3d.Mesh(points=[0, 0, 0, 1, 0, 0, 0, 1, 0], face_sides=[3], face_indices=[0, 1, 2])
        engine.scene.add(triangle)
        self._pixels = Pixels(engine.window)
        engine.scene.clear()

    def whole_scene(self, up: str, camera: Camera, front: float) -> View:
        """Return a view of everything from the place of a camera preset."""
        self._window.size = (framing.SIZE, framing.SIZE)
        view = whole_scene(self._window.camera, up, camera.azimuth + front, camera.height, camera.view_angle)
        self._scene_width = view.frame.width
        return view

    def visible(self, view: View, thicker: float = 1.0) -> Image.Image:
        """Return a mask: 255 where a small drawing shows something."""
        view.apply(self._window.camera)
        self._looks.scale_to(round(framing.SIZE * min(thicker, MOST_THICKER)))
        drawn = self._pixels.shot(framing.SIZE)
        return drawn.getchannel("A").point(lambda alpha: 255 if alpha > VISIBLE else 0)

    def dots(self, view: View) -> Image.Image:
        """Return a mask: 255 where the model has a corner."""
        with self._looks.dots(view.frame.width / self._scene_width):
            return self.visible(view)

    def thick_pictures(self, views: Sequence[View], size: int) -> list[Image.Image]:
        """Return the picture of each view with everything widened, so that a wire is visible."""
        self._looks.thicken()
        pictures = [self._draw(view, 2 * size).filter(ImageFilter.MaxFilter(_rim(size))) for view in views]
        return [picture.resize((size, size), Image.Resampling.LANCZOS) for picture in pictures]

    def pictures(self, views: Sequence[View], size: int) -> list[Image.Image]:
        """Return the shaded picture of each view, with a transparent ground."""
        drawn = [self._draw(view, 2 * size) for view in views]
        colors = [picture.resize((size, size), Image.Resampling.LANCZOS) for picture in drawn]
        if views[0].frame.width < CLOSE * self._scene_width:
            return colors
        shades = self._shades(views, max(LEAST_OCCLUSION, min(OCCLUSION, size * 3 // 4)))
        return [_shaded(color, shade) for color, shade in zip(colors, shades, strict=True)]

    def _draw(self, view: View, size: int) -> Image.Image:
        self._looks.scale_to(size)
        view.apply(self._window.camera)
        return self._pixels.shot(size)

    def _shades(self, views: Sequence[View], size: int) -> list[Image.Image]:
        """Return the ambient occlusion of each view: 255 leaves a place as bright as it is."""
        plain = [self._draw(view, size).convert("L") for view in views]
        with self._looks.occlusion():
            occluded = [self._draw(view, size).convert("L") for view in views]
        return [_quotient(*pair) for pair in zip(occluded, plain, strict=True)]


def _rim(size: int) -> int:
    """Pixels of a square around each drawn pixel, an odd number."""
    return 2 * max(1, size // RIM) + 1


def _quotient(occluded: Image.Image, plain: Image.Image) -> Image.Image:
    shade: Image.Image = ImageMath.lambda_eval(
        lambda a: a["convert"]((a["occluded"] + 4) * 255 / (a["plain"] + 4), "L"), plain=plain, occluded=occluded
    )
    return shade.filter(ImageFilter.MedianFilter(3)).filter(ImageFilter.GaussianBlur(1.5))


def _shaded(color: Image.Image, shade: Image.Image) -> Image.Image:
    shade = shade.resize(color.size, Image.Resampling.BICUBIC)
    alpha = color.getchannel("A")
    shaded = ImageChops.multiply(color.convert("RGB"), Image.merge("RGB", (shade, shade, shade)))
    shaded.putalpha(alpha)
    return shaded
