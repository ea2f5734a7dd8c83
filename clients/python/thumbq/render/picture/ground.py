"""Puts a picture on its ground, and adds a halo where the model would merge with the ground."""

from collections.abc import Sequence

from PIL import Image, ImageFilter

from thumbq.render.picture.measure import DARK, LEAST_SEEN, LIGHT, Color, contrasts

# The halo's width as a share of the picture, and how opaque it is at the model's edge.
WIDTH, OPACITY = 1 / 110, 0.75


def grounds_of(background: Color | None) -> Sequence[Color]:
    """Return the grounds for the measurement: the picture's own, or those of a light and a dark page."""
    return (LIGHT, DARK) if background is None else (background,)


def set_off(picture: Image.Image, grounds: Sequence[Color]) -> Image.Image:
    """Return the picture with a soft shadow or light behind a model that nearly merges with a ground."""
    for contrast in contrasts(picture, grounds):
        if contrast.faint:
            picture = _with_halo(picture, (255, 255, 255) if sum(contrast.ground) < 384 else (30, 34, 40))
    return picture


def can_be_seen(picture: Image.Image, grounds: Sequence[Color]) -> bool:
    """Return whether enough is visible on every ground."""
    return all(contrast.seen >= LEAST_SEEN for contrast in contrasts(picture, grounds))


def on_ground(picture: Image.Image, background: Color | None) -> Image.Image:
    """Return the picture on its background, or unchanged when the background is transparent."""
    if background is None:
        return picture
    ground = Image.new("RGB", picture.size, background)
    ground.paste(picture, mask=picture.getchannel("A"))
    return ground


def _with_halo(picture: Image.Image, color: Color) -> Image.Image:
    radius = max(1.0, picture.width * WIDTH)
    spread = picture.getchannel("A").filter(ImageFilter.MaxFilter(3)).filter(ImageFilter.GaussianBlur(radius))
    halo = Image.new("RGBA", picture.size, (*color, 0))
    halo.putalpha(spread.point(lambda alpha: min(255, int(2 * alpha * OPACITY))))
    halo.alpha_composite(picture)
    return halo
