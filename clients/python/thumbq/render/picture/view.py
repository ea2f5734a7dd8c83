"""The camera: its place, its direction and its frame."""

import math
from dataclasses import dataclass, replace

import f3d

from thumbq.render.picture.islands import Box

Vector = tuple[float, float, float]
Axes = tuple[Vector, Vector, Vector]

FAR = 200.0

# A model's axes as seen from its front, for every axis that a format calls up: right, up, towards the camera.
AXES: dict[str, Axes] = {
    "+Y": ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)),
    "-Y": ((1.0, 0.0, 0.0), (0.0, -1.0, 0.0), (0.0, 0.0, -1.0)),
    "+Z": ((1.0, 0.0, 0.0), (0.0, 0.0, 1.0), (0.0, -1.0, 0.0)),
    "-Z": ((1.0, 0.0, 0.0), (0.0, 0.0, -1.0), (0.0, 1.0, 0.0)),
}


@dataclass(frozen=True, slots=True)
class Frame:
    """A square in space: its centre, its two directions, and how wide it is."""

    centre: Vector
    right: Vector
    up: Vector
    width: float


@dataclass(frozen=True, slots=True)
class View:
    """A camera that looks straight at a frame from a distance.

    It stands `azimuth` degrees to the right of the model's front and `height` degrees above it.
    """

    axes: Axes
    azimuth: float
    height: float
    towards: Vector
    distance: float
    frame: Frame

    def framed(self, frame: Frame) -> "View":
        """Return the same camera with another frame."""
        return replace(self, frame=frame)

    def around(self, box: Box, filled: float) -> "View":
        """Return the view in which the given box of this view fills a share."""
        left, top, right, bottom = box
        across, above = self.frame.width * ((left + right) / 2 - 0.5), self.frame.width * (0.5 - (top + bottom) / 2)
        centre = moved(moved(self.frame.centre, self.frame.right, across), self.frame.up, above)
        width = self.frame.width * max(right - left, bottom - top, 1e-9) / filled
        return self.framed(replace(self.frame, centre=centre, width=width))

    def far_away(self) -> "View":
        """Return the same frame from far away, where near things look hardly larger than far ones."""
        return replace(self, distance=FAR * self.distance)

    def from_aside(self, width: float) -> "View":
        """Return a view of the same centre from the right, `width` wide."""
        x, y, z = self.towards
        frame = replace(self.frame, right=(-x, -y, -z), width=width)
        return replace(self, towards=self.frame.right, frame=frame)

    def turned(self, count: int) -> list["View"]:
        """Return `count` views all around the model; the first is this one."""
        views = []
        for number in range(count):
            azimuth = self.azimuth + 360 * number / count
            right, up, towards = directions(self.axes, azimuth, self.height)
            frame = replace(self.frame, right=right, up=up)
            views.append(replace(self, azimuth=azimuth, towards=towards, frame=frame))
        return views

    def apply(self, camera: f3d.Camera) -> None:
        """Place the camera. It comes closer by its view angle, as a telephoto lens does.

        VTK draws nothing nearer than a thousandth of the farthest distance. So a camera must not walk up to a small
        model beside a far point.
        """
        camera.position = moved(self.frame.centre, self.towards, self.distance)
        camera.focal_point = self.frame.centre
        camera.view_up = self.frame.up
        camera.view_angle = math.degrees(2 * math.atan(self.frame.width / 2 / self.distance))


def moved(point: Vector, direction: Vector, length: float) -> Vector:
    """Return the point at a distance in a direction."""
    return (
        point[0] + length * direction[0],
        point[1] + length * direction[1],
        point[2] + length * direction[2],
    )


def unit(vector: Vector) -> Vector:
    """Return the vector of length 1 in the same direction."""
    length = math.hypot(*vector)
    return vector[0] / length, vector[1] / length, vector[2] / length


def directions(axes: Axes, azimuth: float, height: float) -> Axes:
    """Return three directions: right and up in the picture, and from the model towards the camera."""
    sin_a, cos_a = math.sin(math.radians(azimuth)), math.cos(math.radians(azimuth))
    sin_h, cos_h = math.sin(math.radians(height)), math.cos(math.radians(height))
    return (
        _mixed(axes, (cos_a, 0.0, -sin_a)),
        _mixed(axes, (-sin_a * sin_h, cos_h, -cos_a * sin_h)),
        _mixed(axes, (sin_a * cos_h, sin_h, cos_a * cos_h)),
    )


def _mixed(axes: Axes, shares: Vector) -> Vector:
    x, y, z = (sum(share * axis[k] for share, axis in zip(shares, axes, strict=True)) for k in range(3))
    return unit((x, y, z))


def whole_scene(camera: f3d.Camera, up: str, azimuth: float, height: float, view_angle: float) -> View:
    """Return a view of the whole scene."""
    axes = AXES[up]
    right, above, towards = directions(axes, azimuth, height)
    camera.view_angle = view_angle
    camera.focal_point = (0.0, 0.0, 0.0)
    camera.position = towards
    camera.view_up = axes[1]
    camera.reset_to_bounds(0.9)
    distance = math.dist(camera.position, camera.focal_point)
    width = 2 * distance * math.tan(math.radians(camera.view_angle / 2))
    return View(axes, azimuth, height, towards, distance, Frame(camera.focal_point, right, above, width))
