"""Writes a picture, or the frames of a turntable, as the bytes of a file."""

import io
from collections.abc import Sequence

from PIL import Image

WEBP_QUALITY, JPEG_QUALITY, AVIF_QUALITY = 90, 88, 75
# Milliseconds that each turn of a turntable takes.
TURN = 4800


def encode(frames: Sequence[Image.Image], encoding: str) -> bytes:
    """Encode one picture, or several frames as an animation (WebP only)."""
    content = io.BytesIO()
    first, *others = frames
    match encoding:
        case "webp" if others:
            first.save(
                content, "WEBP", save_all=True, append_images=others, duration=TURN // len(frames), loop=0, quality=75
            )
        case "webp":
            first.save(content, "WEBP", quality=WEBP_QUALITY, method=4)
        case "png":
            first.save(content, "PNG", compress_level=6)
        case "jpeg":
            first.convert("RGB").save(content, "JPEG", quality=JPEG_QUALITY, progressive=True)
        case "avif":
            first.save(content, "AVIF", quality=AVIF_QUALITY, speed=7, max_threads=1)
        case _:
            raise ValueError(f"unknown encoding {encoding}")
    return content.getvalue()
