"""Where the camera stands and what it sees."""

import math
from dataclasses import dataclass, replace

import f3d

from thumbq.render.picture.framing import Frame, Vector, unit

# A model's axes as seen from its front, for every axis that a format calls up: right, up, towards the camera.
AXES: dict[str, tuple[Vector, Vector, Vector]] = {
    "+Y": ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)),
    "-Y": ((1.0, 0.0, 0.0), (0.0, -1.0, 0.0), (0.0, 0.0, -1.0)),
    "+Z": ((1.0, 0.0, 0.0), (0.0, 0.0, 1.0), (0.0, -1.0, 0.0)),
    "-Z": ((1.0, 0.0, 0.0), (0.0, 0.0, -1.0), (0.0, 1.0, 0.0)),
}


@dataclass(frozen=True, slots=True)
class View:
    """A camera at `distance` from the centre of a frame, in degrees right of the model's front and above it."""

    axes: tuple[Vector, Vector, Vector]
    azimuth: float
    height: float
    distance: float
    frame: Frame

    def framed(self, frame: Frame) -> "View":
        """The same camera, looking at another frame."""
        return replace(self, frame=frame)

    def turned(self, count: int) -> list["View"]:
        """As many views as asked for, all around the model; the first is this one."""
        views = []
        for number in range(count):
            azimuth = self.azimuth + 360 * number / count
            right, up, _ = directions(self.axes, azimuth, self.height)
            frame = replace(self.frame, right=right, up=up)
            views.append(replace(self, azimuth=azimuth, frame=frame))
        return views

    def apply(self, camera: f3d.Camera) -> None:
        """Put the camera there. It comes closer by its view angle, as a telephoto lens does.

        A camera that walked up to a small model beside a far point would have the model cut off: the nearest that
        is drawn is a thousandth of the farthest.
        """
        _, _, towards = directions(self.axes, self.azimuth, self.height)
        x, y, z = (self.frame.centre[k] + self.distance * towards[k] for k in range(3))
        camera.position = (x, y, z)
        camera.focal_point = self.frame.centre
        camera.view_up = self.axes[1]
        camera.view_angle = math.degrees(2 * math.atan(self.frame.width / 2 / self.distance))


def directions(axes: tuple[Vector, Vector, Vector], azimuth: float, height: float) -> tuple[Vector, Vector, Vector]:
    """Right and up in the picture, and from the model towards the camera."""
    sin_a, cos_a = math.sin(math.radians(azimuth)), math.cos(math.radians(azimuth))
    sin_h, cos_h = math.sin(math.radians(height)), math.cos(math.radians(height))
    return (
        _mixed(axes, (cos_a, 0.0, -sin_a)),
        _mixed(axes, (-sin_a * sin_h, cos_h, -cos_a * sin_h)),
        _mixed(axes, (sin_a * cos_h, sin_h, cos_a * cos_h)),
    )


def _mixed(axes: tuple[Vector, Vector, Vector], shares: Vector) -> Vector:
    x, y, z = (sum(share * axis[k] for share, axis in zip(shares, axes, strict=True)) for k in range(3))
    return unit((x, y, z))


def whole_scene(camera: f3d.Camera, up: str, azimuth: float, height: float, view_angle: float) -> View:
    """A view of everything that is in the scene."""
    axes = AXES[up]
    right, above, towards = directions(axes, azimuth, height)
    camera.view_angle = view_angle
    camera.focal_point = (0.0, 0.0, 0.0)
    camera.position = towards
    camera.view_up = axes[1]
    camera.reset_to_bounds(0.9)
    distance = math.dist(camera.position, camera.focal_point)
    width = 2 * distance * math.tan(math.radians(camera.view_angle / 2))
    return View(axes, azimuth, height, distance, Frame(camera.focal_point, right, above, width))
