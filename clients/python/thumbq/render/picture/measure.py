"""Measures how much a person sees of a picture on light and dark pages."""

from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image, ImageChops, ImageStat

Color = tuple[int, int, int]

# The grounds of a light and of a dark page, for pictures without a ground of their own.
LIGHT: Color = (255, 255, 255)
DARK: Color = (17, 19, 24)

# A picture needs at least this visible share.
LEAST_SEEN = 0.005
# Differences from the ground, of 255 levels: the smallest visible one, and the smallest clear one.
SEEN, CLEAR = 12, 70
# Alpha from which on a pixel counts as drawn.
THERE = 26


@dataclass(frozen=True, slots=True)
class Contrast:
    """A picture on one ground: the visible share of it, and the mean difference of the drawn pixels from the ground."""

    ground: Color
    seen: float
    difference: float

    @property
    def faint(self) -> bool:
        """Whether the model nearly merges with the ground."""
        return self.difference < CLEAR


def visible_share(picture: Image.Image) -> float:
    """Return the share of a picture in which something is drawn."""
    return sum(picture.getchannel("A").histogram()[THERE:]) / (picture.width * picture.height)


def contrasts(picture: Image.Image, grounds: Sequence[Color]) -> list[Contrast]:
    """Measure a picture with transparency on each ground."""
    small = picture.reduce(2) if picture.width >= 256 else picture
    there = small.getchannel("A").point(lambda alpha: 255 if alpha >= THERE else 0)
    return [_contrast(small, ground, there) for ground in grounds]


def _contrast(picture: Image.Image, ground: Color, there: Image.Image) -> Contrast:
    plain = Image.new("RGB", picture.size, ground)
    shown = plain.copy()
    shown.paste(picture, mask=picture.getchannel("A"))
    red, green, blue = ImageChops.difference(shown, plain).split()
    difference = ImageChops.lighter(red, ImageChops.lighter(green, blue))
    seen = sum(difference.histogram()[SEEN:]) / (picture.width * picture.height)
    mean = ImageStat.Stat(difference, there).mean[0] if there.getbbox() else 0.0
    return Contrast(ground, seen, mean)
