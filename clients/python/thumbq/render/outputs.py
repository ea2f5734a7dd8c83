"""The pictures that are made of a model: their sizes, file format, ground, camera, and what their files are called."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

from thumbq.render.formats import FORMATS

# A picture's width and height in pixels, unless set otherwise.
SIZE = 512
LARGEST, SMALLEST = 1024, 16
MOST_FRAMES = 120

# Formats whose files, or whose definition, say which axis is up.
SAY_UP = frozenset({"glb", "gltf", "dae", "fbx", "3mf", "wrl"})

# Word of the encoding, and the suffix of its files.
ENCODINGS = {"webp": ".webp", "png": ".png", "jpeg": ".jpg", "avif": ".avif"}


@dataclass(frozen=True, slots=True)
class Camera:
    """Where the camera stands: degrees to the right of the model's front, degrees above, and its view angle.

    `filled` is the share of the picture's width or height that the model takes.
    """

    azimuth: float
    height: float
    view_angle: float = 30.0
    filled: float = 1 / 1.1


DEFAULT_CAMERA = "quarter"
CAMERAS = {
    "quarter": Camera(30.0, 22.0),
    "iso": Camera(45.0, 35.26, view_angle=1.0),
    "front": Camera(0.0, 0.0),
    # The view of Modelibr's own worker.
    "thumbnail": Camera(0.0, 0.0, view_angle=45.0, filled=0.8),
}


@dataclass(frozen=True, slots=True)
class Outputs:
    """The settings of the pictures of every model. The first size is the job's thumbnail.

    `background` is None for transparent. With `frames` the pictures are turntables. `front` turns the model's front:
    degrees about its vertical axis. `up` says for formats which axis is up; under "" for all formats that do not say
    so themselves.
    """

    sizes: tuple[int, ...] = (SIZE,)
    encoding: str = "webp"
    background: str | None = None
    camera: str = DEFAULT_CAMERA
    frames: int = 1
    front: float = 0.0
    up: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        """Refuse settings that cannot be met; raises ValueError with a sentence."""
        if not self.sizes or not all(SMALLEST <= size <= LARGEST for size in self.sizes):
            raise ValueError(f"A size is {SMALLEST} to {LARGEST} pixels.")
        if self.encoding not in ENCODINGS:
            raise ValueError(f"The picture format is one of {', '.join(ENCODINGS)}.")
        if self.camera not in CAMERAS:
            raise ValueError(f"The camera is one of {', '.join(CAMERAS)}.")
        if not 1 <= self.frames <= MOST_FRAMES:
            raise ValueError(f"A turntable has 2 to {MOST_FRAMES} frames.")
        if self.frames > 1 and self.encoding != "webp":
            raise ValueError("A turntable is written as WebP only.")
        if self.background is not None and not re.fullmatch(r"#[0-9a-f]{6}", self.background):
            raise ValueError("The background is 'transparent' or a colour such as #f4f4f5.")
        if self.encoding == "jpeg" and self.background is None:
            raise ValueError("JPEG has no transparency: give a background, such as #ffffff.")

    @classmethod
    def from_json(cls, fields: dict[str, Any]) -> Self:
        """Return the outputs that `dataclasses.asdict` and JSON have turned into `fields`; raises ValueError."""
        up = tuple((word, axis) for word, axis in fields["up"])
        return cls(**fields | {"sizes": tuple(fields["sizes"]), "up": up})

    @property
    def color(self) -> tuple[int, int, int] | None:
        """The background as red, green and blue, 0 to 255; None for transparent."""
        if self.background is None:
            return None
        red, green, blue = bytes.fromhex(self.background[1:])
        return red, green, blue

    def up_of(self, model_format: str) -> str:
        """Return the axis that points up in models of a format."""
        axes = dict(self.up)
        for_all = None if model_format in SAY_UP else axes.get("")
        return axes.get(model_format) or for_all or FORMATS[model_format].up

    def file_name(self, model_hash: str, size: int) -> str:
        """Return a picture's file name. It holds every setting that changes the picture, so caches stay right."""
        parts = [model_hash, str(size)]
        if self.camera != DEFAULT_CAMERA:
            parts.append(self.camera)
        if self.background is not None:
            parts.append(self.background[1:])
        if self.frames > 1:
            parts.append(f"turntable{self.frames}")
        if self.front:
            parts.append(f"front{self.front:g}")
        parts += [f"{word}{axis}" for word, axis in self.up]
        return "-".join(parts) + ENCODINGS[self.encoding]


DEFAULT = Outputs()


def parse_up(texts: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """Return the axes that `--up z` or `--up obj=z` name; raises ValueError with a sentence."""
    axes = []
    for text in texts:
        if not (found := re.fullmatch(r"(?:([a-z0-9]+)=)?([+-]?[yz])", text.lower())):
            raise ValueError(f"--up {text} is not understood: y, z, or one for a format, such as obj=z.")
        axis = found[2].upper()
        axes.append((found[1] or "", axis if axis[0] in "+-" else f"+{axis}"))
    return tuple(axes)
