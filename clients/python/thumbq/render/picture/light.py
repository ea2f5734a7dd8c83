"""The light of every picture: a photographer's studio as a small panorama, made here and stored as `studio.hdr`."""

import math
from pathlib import Path

STUDIO = Path(__file__).with_name("studio.hdr")

WIDTH = 128
EXPOSURE = 1.15

# Azimuth, height, half width, half height (degrees), brightness, colour: key left of the camera, fill, rim.
SOFT_BOXES = (
    (270.0, 42.0, 30.0, 22.0, 6.5, (1.0, 0.97, 0.93)),
    (30.0, 25.0, 14.0, 28.0, 1.6, (0.93, 0.97, 1.0)),
    (150.0, 35.0, 20.0, 25.0, 2.2, (0.95, 0.98, 1.0)),
)
SOFTNESS = 9.0


def studio() -> bytes:
    """Return the panorama as a Radiance picture."""
    height = WIDTH // 2
    content = bytearray(b"#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n\n-Y %d +X %d\n" % (height, WIDTH))
    for row in range(height):
        for column in range(WIDTH):
            rgb = _radiance(360 * (column + 0.5) / WIDTH, 90 - 180 * (row + 0.5) / height)
            fraction, exponent = math.frexp(max(rgb))
            content += bytes(int(channel * fraction * 256 / max(rgb)) for channel in rgb)
            content.append(exponent + 128)
    return bytes(content)


def _radiance(azimuth: float, height: float) -> tuple[float, float, float]:
    rise = math.sin(math.radians(height))
    walls = 0.34 + (0.40 if rise > 0 else 0.06) * rise
    red, green, blue = 0.98 * walls, walls, 1.03 * walls
    for box_azimuth, box_height, half_width, half_height, brightness, color in SOFT_BOXES:
        aside = max(0.0, abs((azimuth - box_azimuth + 180) % 360 - 180) - half_width)
        above = max(0.0, abs(height - box_height) - half_height)
        level = brightness * math.exp(-(aside**2 + above**2) / (2 * SOFTNESS**2))
        red, green, blue = red + level * color[0], green + level * color[1], blue + level * color[2]
    return EXPOSURE * red, EXPOSURE * green, EXPOSURE * blue
