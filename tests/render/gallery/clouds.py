"""Writes point clouds in every format that has them."""

import math
import struct
from collections.abc import Sequence
from random import Random

Place = tuple[float, float, float]
Color = tuple[int, int, int]
Cloud = Sequence[tuple[Place, Color]]


def shell(count: int) -> Cloud:
    """Return points on a shell, striped; the vertical axis is z."""
    return [_on_shell(number, count) for number in range(count)]


def _on_shell(number: int, count: int) -> tuple[Place, Color]:
    z = 1 - 2 * (number + 0.5) / count
    angle = number * math.pi * (3 - math.sqrt(5))
    radius = math.sqrt(1 - z * z) * (1 + 0.25 * math.sin(6 * angle) * (1 - z * z))
    shade = (z + 1) / 2
    color = (round(230 * shade), round(90 + 60 * math.sin(5 * z)), round(220 * (1 - shade)))
    return (radius * math.cos(angle), radius * math.sin(angle), 1.2 * z), color


def hills(count: int) -> Cloud:
    """Return a piece of land as a scanner sees it; the vertical axis is z."""
    numbers = Random(4)
    points = []
    for _ in range(count):
        x, y = numbers.uniform(-3, 3), numbers.uniform(-3, 3)
        z = math.sin(1.3 * x) * math.cos(1.1 * y) * 0.6 + numbers.gauss(0, 0.01)
        green = round(110 + 90 * z)
        points.append(((x, y, z), (round(90 + 60 * z), green, 60)))
    return points


def _lines(cloud: Cloud, line: str) -> str:
    return "".join(line % (*place, *color) for place, color in cloud)


def ply(cloud: Cloud) -> bytes:
    """Return a PLY without faces."""
    places = "".join(f"property float {axis}\n" for axis in "xyz")
    colors = "".join(f"property uchar {color}\n" for color in ("red", "green", "blue"))
    header = f"ply\nformat ascii 1.0\nelement vertex {len(cloud)}\n{places}{colors}end_header\n"
    return (header + _lines(cloud, "%.4f %.4f %.4f %d %d %d\n")).encode()


def pts(cloud: Cloud) -> bytes:
    """Return a PTS with intensity and colour."""
    return (f"{len(cloud)}\n" + _lines(cloud, "%.4f %.4f %.4f 0 %d %d %d\n")).encode()


def ptx(cloud: Cloud) -> bytes:
    """Return a PTX of one scan, a column of points."""
    pose = "0 0 0\n1 0 0\n0 1 0\n0 0 1\n1 0 0 0\n0 1 0 0\n0 0 1 0\n0 0 0 1\n"
    return (f"1\n{len(cloud)}\n{pose}" + _lines(cloud, "%.4f %.4f %.4f 0.5 %d %d %d\n")).encode()


def pcd(cloud: Cloud) -> bytes:
    """Return a PCD in text form, without colours."""
    header = (
        "# .PCD v0.7\nVERSION 0.7\nFIELDS x y z\nSIZE 4 4 4\nTYPE F F F\nCOUNT 1 1 1\n"
        f"WIDTH {len(cloud)}\nHEIGHT 1\nVIEWPOINT 0 0 0 1 0 0 0\nPOINTS {len(cloud)}\nDATA ascii\n"
    )
    return (header + "".join("{:.4f} {:.4f} {:.4f}\n".format(*place) for place, _ in cloud)).encode()


def splat(cloud: Cloud) -> bytes:
    """Gaussian splats; y points down in this format."""
    rows = (
        struct.pack("<6f8B", x, -z, y, 0.02, 0.02, 0.02, *color, 255, 255, 128, 128, 128) for (x, y, z), color in cloud
    )
    return b"".join(rows)


def las(cloud: Cloud) -> bytes:
    """Return a LAS 1.2 with colours, in millimetres."""
    places = [place for place, _ in cloud]
    low, high = ([pick(axis) for axis in zip(*places, strict=True)] for pick in (min, max))
    bounds = [bound for pair in zip(high, low, strict=True) for bound in pair]
    header = struct.pack(
        "<4sHHIHH8sBB32s32sHHHIIBHI5I12d",
        b"LASF", 0, 0, 0, 0, 0, bytes(8), 1, 2, b"gallery", b"gallery", 1, 2026, 227, 227, 0, 2, 26, len(cloud),
        len(cloud), 0, 0, 0, 0, 0.001, 0.001, 0.001, 0.0, 0.0, 0.0, *bounds,
    )  # fmt: skip
    points = (
        struct.pack("<3iHBBbBH3H", *(round(1000 * v) for v in place), 0, 9, 2, 0, 0, 0, *(256 * c for c in color))
        for place, color in cloud
    )
    return header + b"".join(points)
